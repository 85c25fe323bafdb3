"""Agent and model network side by side: awake, planning and dreaming."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spiking_wm_ros.agents.rsnn.actor import Actor, Stream
from spiking_wm_ros.agents.rsnn.heads import head_of
from spiking_wm_ros.agents.rsnn.inputs import Inputs
from spiking_wm_ros.agents.rsnn.model import Model
from spiking_wm_ros.agents.rsnn.options import Options
from spiking_wm_ros.agents.spaces import Spaces
from spiking_wm_ros.agents.tensors import flatten, unflatten
from spiking_wm_ros.errors import UserError
from spiking_wm_ros.snn.recurrent import Activity, Array

_AGENT, _MODEL, _DREAM, _PLAN = range(4)  # what random numbers are for


@dataclass
class Moment:
    """Where a dream may start: inputs ``[..., D]`` and the activity of both networks ``[..., N]``."""

    inputs: Array
    agent: Activity
    model: Activity


class Pair:
    """Agents and models of ``R`` realisations (seeds) that live through episodes in step.

    In every step: `see`, `choose`, `follow`. Each realisation is, to the bit, what it is alone.

    Args:
        options: constants.
        spaces: of the environment.
        seeds: one per realisation.
    """

    def __init__(self, options: Options, spaces: Spaces, seeds: Sequence[int]):
        observation, action, _ = spaces
        if len(observation.shape) != 1:
            raise UserError(
                f"rsnn sees vectors, not observations of shape {observation.shape}: choose another env:="
            )
        self.options, self.seeds = options, np.array(seeds)
        width, realisations = observation.shape[0], len(seeds)
        self.head = head_of(action, options.deviation)
        self.inputs = Inputs(observation, realisations, options.scale_inputs)
        self.actor = Actor(self._generators(_AGENT), width, self.head.outputs, options)
        self.model = (
            Model(self._generators(_MODEL), width, self.head.codes, options) if options.world_model else None
        )
        self.awake = Stream(self.actor)
        chunk = max(32, min(options.together * options.horizon, 256))  # dreams of an update at once
        self.imagined = Stream(self.actor, chunk) if self.model else None
        self.steps, self.dreams = np.zeros((), np.int64), np.zeros((), np.int64)
        self._reward = np.zeros(realisations, np.float32)
        if self.model:
            many = (options.dream_starts, realisations)
            self._moments = Moment(
                np.zeros((*many, width), np.float32),
                *(
                    _many(network.at_rest(), options.dream_starts)
                    for network in (self.actor.network, self.model.network)
                ),
            )

    def _generators(self, purpose: int, number: int = 0) -> list[np.random.Generator]:
        return [np.random.default_rng([seed, purpose, number]) for seed in self.seeds]

    # --- awake ---

    def see(self, observation: Array) -> Array:
        """Take in observations ``[R, D]``; returns what the policies read out, ``[R, K]``."""
        self.inputs.update(observation)
        self._seen = self.inputs(observation)
        if self.model:
            self._remember()
        self._outputs = self.awake.see(self._seen, self._reward)
        return self._outputs

    def choose(self, actions: np.ndarray) -> None:
        """Take in what was done then: actions ``[R]`` or ``[R, A]``."""
        self.awake.choose(self.head.direction(self._outputs, actions), self.head.spread(self._outputs))
        if self.model:
            self._prediction = self.model.predict(self.model.activity, self._seen, self.head.code(actions))

    def follow(self, observation: Array, reward: Array, terminated: bool, truncated: bool) -> None:
        """Take in what came of it: observations ``[R, D]``, rewards ``[R]``, and whether episodes ended."""
        following = self.inputs(observation)
        if self.model:
            self.model.correct(self._prediction, self._seen, following, reward)
            self._plan(following, reward, terminated or truncated)
        self._reward = reward
        if terminated or truncated:
            self.awake.end(reward, None if terminated else following)
            self.awake.begin(self.actor.network.at_rest())
            if self.model:
                self.model.begin()
        self.steps += 1
        if self.steps == self.options.warmup:
            self.awake.forget()

    def learn(self) -> None:
        """One step of Adam up the gradient that was credited awake, and in plans, since the last one."""
        streams = (self.awake, *self._imagined()) if self.options.plan_steps else (self.awake,)
        if self.steps <= self.options.value_first:
            for stream in streams:
                stream.forget("recurrent", "policy")
        self.actor.learn(*streams)
        self.inputs.refresh()

    # --- imagining ---

    @property
    def can_dream(self) -> bool:
        """Whether there is a model, and the time in which only it or values are learned is over."""
        return self.model is not None and self.steps > max(self.options.warmup, self.options.value_first)

    def dream(self) -> dict[str, float]:
        """Live through ``together`` dreams per realisation and learn from them in one update."""
        o, returns = self.options, []
        lengths = np.full(len(self.seeds), o.horizon)
        if o.dream_error:
            share = 1 - self.model.relative_error() / np.float32(o.dream_error)
            lengths = np.maximum((o.horizon * share).astype(int), 1)
        for _ in range(o.together):
            generators = self._generators(_DREAM, int(self.dreams))
            restore = self.model.shuffle(generators) if o.shuffled else None
            moment = self._recall(generators)
            total = self._imagine(moment, lengths, o.horizon, generators)
            if restore:
                restore()
            returns.append(total.mean())
            self.dreams += 1
        self.actor.learn(*self._imagined())
        return {"dream_return": float(np.mean(returns)), "dream_length": float(lengths.mean())}

    def _remember(self) -> None:
        o, m = self.options, self._moments
        step = int(self.steps)
        if step % o.dream_spacing == 0:
            slot = step // o.dream_spacing % o.dream_starts
            m.inputs[slot] = self._seen
            for kept, live in ((m.agent, self.awake.activity), (m.model, self.model.activity)):
                for name, value in vars(live).items():
                    getattr(kept, name)[slot] = value

    def _imagined(self) -> tuple[Stream, ...]:
        """What was imagined, if anything can be, with what is to be learned from it."""
        if self.imagined and self.options.baseline and not self.options.dream_values:
            self.imagined.forget("value")  # values are judged by what was real
        return (self.imagined,) if self.imagined else ()

    def _recall(self, generators) -> Moment:
        """One of the moments remembered, for each realisation."""
        o, m, rows = self.options, self._moments, np.arange(len(self.seeds))
        known = min(int(self.steps - 1) // o.dream_spacing + 1, o.dream_starts)
        slots = [int(g.integers(known)) for g in generators]
        agent, model = (Activity(*(x[slots, rows] for x in vars(a).values())) for a in (m.agent, m.model))
        return Moment(m.inputs[slots, rows], agent, model)

    def _plan(self, inputs: Array, reward: Array, over: bool) -> None:
        ahead, step = self.options.plan_steps, int(self.steps)
        if ahead and not over and self.can_dream and step % (2 * ahead) == 0:
            now = Moment(inputs, self.awake.activity.copy(), self.model.activity.copy())
            lengths = np.full(len(self.seeds), ahead)
            self._imagine(now, lengths, ahead, self._generators(_PLAN, step))

    def _imagine(self, moment: Moment, lengths: np.ndarray, steps: int, generators) -> Array:
        """Live on in the model for ``lengths [R]`` steps; returns the imagined returns ``[R]``."""
        stream, reward = self.imagined, np.zeros(len(lengths), np.float32)
        inputs, model = moment.inputs, moment.model
        stream.begin(moment.agent)
        total, goes_on = reward.copy(), np.ones(len(lengths), bool)
        for step in range(steps):
            outputs = stream.see(inputs, reward)
            stream.alive = (goes_on & (step < lengths)).astype(np.float32)
            actions = self.head.draw(outputs, generators)
            stream.choose(self.head.direction(outputs, actions), self.head.spread(outputs))
            prediction = self.model.predict(model, inputs, self.head.code(actions))
            inputs, reward = self.model.after(inputs, prediction)
            if self.options.clip_dreams:
                inputs = inputs.clip(self.inputs.low, self.inputs.high)
            total += reward * stream.alive
            if self.options.last_reward:
                goes_on &= np.abs(reward) < self.options.last_reward
                stream.goes_on = goes_on.astype(np.float32)
        stream.end(reward, inputs)
        return total

    # --- keeping ---

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of all that it goes on from, by name."""
        arrays = {name: torch.from_numpy(array.copy()) for name, array in _flat(self._state()).items()}
        statistics = flatten({"statistics": s.state_dict()}) if (s := self.inputs.statistics) else {}
        return arrays | {name: value.clone() for name, value in statistics.items()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go on from a `snapshot`."""
        for name, array in _flat(self._state()).items():
            array[...] = snapshot[name].numpy()
        if self.inputs.statistics:
            self.inputs.statistics.load_state_dict(unflatten(snapshot)["statistics"])

    def _state(self) -> dict:
        state = {
            "inputs": self.inputs.state(),
            "actor": self.actor.state(),
            "awake": self.awake.state(),
            "seeds": self.seeds,
            "steps": self.steps,
            "dreams": self.dreams,
            "last_reward": self._reward,
        }
        if self.model:
            m = self._moments
            moments = {"inputs": m.inputs, "agent": vars(m.agent), "model": vars(m.model)}
            state |= {"model": self.model.state(), "imagined": self.imagined.state(), "moments": moments}
        return state


def _flat(nested: Mapping, path: str = "") -> dict[str, np.ndarray]:
    found = {}
    for key, value in nested.items():
        found |= _flat(value, f"{path}{key}/") if isinstance(value, Mapping) else {path + key: value}
    return found


def _many(activity: Activity, count: int) -> Activity:
    return Activity(*(np.zeros((count, *array.shape), np.float32) for array in vars(activity).values()))
