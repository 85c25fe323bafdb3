"""Agent and model network side by side: awake, planning and dreaming."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.rsnn.action_floor import Uses
from spiking_wm.agents.rsnn.actor import Actor, Stream
from spiking_wm.agents.rsnn.critic import Critic
from spiking_wm.agents.rsnn.dream_groups import chances
from spiking_wm.agents.rsnn.heads import head_of
from spiking_wm.agents.rsnn.inputs import Inputs
from spiking_wm.agents.rsnn.model import Model
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, unflatten
from spiking_wm.neurons.recurrent import Activity, Array

_AGENT, _MODEL, _DREAM, _PLAN, _CRITIC = range(5)  # what random numbers are for
_FORGET_ENDS = np.float32(0.02)  # per reward that ends


@dataclass
class Moment:
    """Where a dream may start: inputs ``[..., D]`` and the activity of all networks ``[..., N]``."""

    inputs: Array
    agent: Activity
    model: Activity
    critic: Activity | None


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
        if options.together % options.peers:
            raise UserError(f"together:={options.together} is no multiple of peers:={options.peers}")
        self.options, self.seeds = options, np.array(seeds)
        width, realisations = observation.shape[0], len(seeds)
        self.head = head_of(action, options.deviation)
        self.inputs = Inputs(observation, realisations, options.scale_inputs)
        held_up = options.least_use and self.head.sharpens
        self.uses = Uses(self.head, realisations, options.least_use) if held_up else None
        critic = Critic(self._generators(_CRITIC), width, options) if options.critic_neurons else None
        self.actor = Actor(self._generators(_AGENT), width, self.head.outputs, options, critic)
        self.model = (
            Model(self._generators(_MODEL), width, self.head.codes, options) if options.world_model else None
        )
        self.awake = Stream(self.actor)
        kept = max(options.horizon if options.together > 1 else min(options.horizon, 64), 2)
        imagines, plans = self.model is not None, self.model is not None and options.plan_steps > 0
        dream = {"abreast": options.together, "peers": options.peers, "decay": options.dream_decay}
        self.dreamed = Stream(self.actor, kept, real=False, **dream) if imagines else None
        self.planned = Stream(self.actor, real=False) if plans else None
        self.steps, self.dreams = np.zeros((), np.int64), np.zeros((), np.int64)
        self._reward = np.zeros(realisations, np.float32)
        # values of what follows on large rewards, below 0 and above it, and how many there were
        self._afterwards, self._ends_seen = np.zeros((2, realisations, 2), np.float32)
        if self.model:
            many = (options.dream_starts, realisations)
            networks = (self.actor.network, self.model.network, critic.network if critic else None)
            activities = [_many(n.at_rest(), options.dream_starts) if n else None for n in networks]
            self._moments = Moment(np.zeros((*many, width), np.float32), *activities)

    def _generators(self, purpose: int, number: int = 0, count: int = 1) -> list[np.random.Generator]:
        """``count`` of them for each realisation, one after the other."""
        numbers = range(number, number + count)
        return [np.random.default_rng([seed, purpose, n]) for seed in self.seeds for n in numbers]

    # --- awake ---

    def see(self, observation: Array) -> Array:
        """Take in observations ``[R, D]``; returns what the policies read out, ``[R, K]``."""
        self.inputs.update(observation)
        self._seen = self.inputs(observation)
        if self.model:
            self._remember()
        self._outputs = self.awake.see(self._seen, self._reward)
        if self.options.last_reward and (np.abs(self._reward) >= self.options.last_reward).any():
            self._value_ends()
        return self._outputs

    def choose(self, actions: np.ndarray) -> None:
        """Take in what was done then: actions ``[R]`` or ``[R, A]``."""
        direction = self.head.direction(self._outputs, actions)
        spread = self.head.spread(self._outputs)
        if self.uses:
            sharper = float(self.actor.sharpness / self.options.sharpness)
            spread += self.uses.hold_up(self._outputs, sharper)
        spread *= np.float32(self.options.entropy)
        if self.steps < self.options.value_first or not self.options.awake_policy:
            direction, spread = np.zeros_like(direction), np.zeros_like(spread)
        self.awake.choose(direction, spread)
        if self.model:
            now, code = self.model.activity, self.head.code(actions)
            self._prediction = self.model.predict(now, self._seen, code, learning=True)

    def follow(self, observation: Array, reward: Array, terminated: bool, truncated: bool) -> None:
        """Take in what came of it: observations ``[R, D]``, rewards ``[R]``, and whether episodes ended."""
        following = self.inputs(observation)
        if self.model:
            self.model.correct(self._prediction, self._seen, following, reward)
            self._plan(following, reward, terminated or truncated)
        self._reward = reward
        if terminated or truncated:
            self.awake.end(reward, None if terminated else following)
            self.awake.rest()
            self._reward = np.zeros_like(reward)
            if self.model:
                self.model.begin()
        self.steps += 1
        if self.actor.critic and self.steps % self.options.critic_every == 0:
            self.awake.learn_values()
        if self.steps == self.options.warmup:
            self.awake.forget()

    def learn(self) -> None:
        """One step of Adam up the gradient that was credited awake, and in plans, since the last one."""
        streams = [self.awake]
        if self.planned:
            streams.append(self._sound(self.planned))
        if self.head.sharpens:
            self.actor.sharpen(int(self.steps) - self.options.value_first)
        self.actor.learn(*streams)
        self.inputs.refresh()

    # --- imagining ---

    @property
    def can_dream(self) -> bool:
        """Whether there is a model, and the time in which only it or values are learned is over."""
        return self.model is not None and self.steps > max(self.options.warmup, self.options.value_first)

    def dream(self, count: int | None = None) -> dict[str, float]:
        """Live through ``count`` dreams per realisation, at most (and by default) ``together``.

        The agent learns from them in one update.
        """
        o, model = self.options, self.model
        count = min(count or o.together, o.together)
        lengths = np.full(len(self.seeds), o.horizon)
        if o.dream_error:
            share = 1 - model.relative_error() / np.float32(o.dream_error)
            lengths = np.maximum((o.horizon * share).astype(int), 1)
        rows = lengths[:, None] * (np.arange(o.together) < count)  # those that are not asked for end at once
        generators = self._generators(_DREAM, int(self.dreams), o.together)
        restore = model.shuffle(generators[:: o.together]) if o.shuffled else None
        beginning = self._recall(generators)
        drawn = chances(generators, o.horizon, self.head.chances, o.peers)
        total = self._imagine(self.dreamed, beginning, rows.reshape(-1), drawn)
        if restore:
            restore()
        self.dreams += count
        self.actor.learn(self._sound(self.dreamed), asleep=True)
        returns = float(total.sum() / (count * len(self.seeds)))
        return {"dream_return": returns, "dream_length": float(lengths.mean())}

    def _remember(self) -> None:
        o, m = self.options, self._moments
        step = int(self.steps)
        if step % o.dream_spacing == 0:
            slot = step // o.dream_spacing % o.dream_starts
            m.inputs[slot] = self._seen
            live = (self.awake.activity, self.model.activity, self.awake.judging)
            for kept, now in zip((m.agent, m.model, m.critic), live):
                for name, value in vars(now).items() if now else ():
                    getattr(kept, name)[slot] = value

    def _value_ends(self) -> None:
        """Take in what the present is worth where a reward like those that end dreams has just come."""
        last, reward = self.options.last_reward, self._reward
        ends = np.stack([reward <= -last, reward >= last], 1)
        self._ends_seen += ends
        weight = np.maximum(1 / np.maximum(self._ends_seen, 1), _FORGET_ENDS).astype(np.float32)
        error = self.awake.value[:, None] - self._afterwards
        self._afterwards += np.where(ends, weight * error, np.float32(0))

    def _sound(self, imagined: Stream) -> Stream:
        """A stream with what is to be learned of it; values are judged by what was real."""
        if "value" in imagined.traces and not self.options.dream_values:
            imagined.forget("value")
        return imagined

    def _recall(self, generators: list[np.random.Generator]) -> Moment:
        """One of the moments remembered for each dream, the same for its peers."""
        o, m = self.options, self._moments
        rows = np.arange(len(generators)) // o.together
        known = min(int(self.steps - 1) // o.dream_spacing + 1, o.dream_starts)
        slots = np.repeat([int(g.integers(known)) for g in generators[:: o.peers]], o.peers)
        kept = (m.agent, m.model, m.critic)
        then = [a and Activity(*(x[slots, rows] for x in vars(a).values())) for a in kept]
        return Moment(m.inputs[slots, rows], *then)

    def _plan(self, inputs: Array, reward: Array, over: bool) -> None:
        ahead, step = self.options.plan_steps, int(self.steps)
        if ahead and not over and self.can_dream and step % (2 * ahead) == 0:
            live = (self.awake.activity, self.model.activity, self.awake.judging)
            now = Moment(inputs, *(a and a.copy() for a in live))
            lengths = np.full(len(self.seeds), ahead)
            drawn = chances(self._generators(_PLAN, step), ahead, self.head.chances)
            self._imagine(self.planned, now, lengths, drawn)

    def _imagine(self, stream: Stream, moment: Moment, lengths: np.ndarray, drawn: np.ndarray) -> Array:
        """Live on in the model, a step for each of the random numbers ``drawn [steps, R B, chances]``.

        ``lengths [R B]`` of the steps count. Returns imagined returns ``[R B]``.
        """
        inputs, model = moment.inputs, moment.model
        reward = np.zeros(len(inputs), np.float32)
        stream.begin(moment.agent, moment.critic)
        total, goes_on = reward.copy(), np.ones(len(lengths), bool)
        # as many for all, so that rounding in one realisation does not depend on the lengths of others
        for step in range(len(drawn)):
            outputs = stream.see(inputs, reward)
            stream.alive = (goes_on & (step < lengths)).astype(np.float32)
            actions = self.head.draw(outputs, drawn[step])
            stream.choose(self.head.direction(outputs, actions))
            prediction = self.model.predict(model, inputs, self.head.code(actions))
            inputs, reward = self.model.after(inputs, prediction)
            if self.options.clip_dreams:
                inputs = inputs.clip(self.inputs.low, self.inputs.high)
            total += reward * stream.alive
            if self.options.last_reward:  # what follows is not imagined, but worth something
                goes_on &= np.abs(reward) < self.options.last_reward
                stream.goes_on = goes_on.astype(np.float32)
                after = self._afterwards.repeat(len(reward) // len(self.seeds), 0)
                stream.afterwards = np.where(reward > 0, after[:, 1], after[:, 0])
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
            "critic": self.actor.critic.state() if self.actor.critic else {},
            "seeds": self.seeds,
            "steps": self.steps,
            "dreams": self.dreams,
            "last_reward": self._reward,
            "afterwards": self._afterwards,
            "ends_seen": self._ends_seen,
            "uses": {"mean": self.uses.mean} if self.uses else {},
        }
        if self.model:
            m = self._moments
            moments = {"inputs": m.inputs, "agent": vars(m.agent), "model": vars(m.model)}
            moments["critic"] = vars(m.critic) if m.critic else {}
            state |= {"model": self.model.state(), "moments": moments}
        if self.planned:
            state["planned"] = self.planned.state()
        return state


def _flat(nested: Mapping, path: str = "") -> dict[str, np.ndarray]:
    found = {}
    for key, value in nested.items():
        found |= _flat(value, f"{path}{key}/") if isinstance(value, Mapping) else {path + key: value}
    return found


def _many(activity: Activity, count: int) -> Activity:
    return Activity(*(np.zeros((count, *array.shape), np.float32) for array in vars(activity).values()))
