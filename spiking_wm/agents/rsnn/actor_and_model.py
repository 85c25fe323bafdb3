"""Actor and model network while awake, with their dreams and plans."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spiking_wm.agents.rsnn.action_floor import ActionFloor
from spiking_wm.agents.rsnn.actor import Actor, Stream
from spiking_wm.agents.rsnn.critic import Critic
from spiking_wm.agents.rsnn.heads import Softmax, head_of
from spiking_wm.agents.rsnn.imagination import Imagination
from spiking_wm.agents.rsnn.inputs import Inputs
from spiking_wm.agents.rsnn.model import Model
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, unflatten
from spiking_wm.neurons.recurrent import Array

_ACTOR, _MODEL, _CRITIC = 0, 1, 4  # keys of random generators; see also `imagination`
_FORGET_ENDS = np.float32(0.02)  # rate of the running mean, per reward that ends rollouts


class ActorAndModel:
    """Actors and models of ``R`` realisations (seeds), whose episodes are synchronous.

    Call `see`, `choose` and `follow` in every step. Each realisation gives bit-identical results alone.

    Args:
        options: constants.
        spaces: the environment's spaces.
        seeds: one per realisation.

    Raises:
        UserError: for unsupported spaces or options.
    """

    def __init__(self, options: Options, spaces: Spaces, seeds: Sequence[int]):
        observation, dream = spaces.observation, options.dream
        if len(observation.shape) != 1:
            raise UserError(
                f"rsnn sees vectors, not observations of shape {observation.shape}: choose another env:="
            )
        if dream.batch % dream.group_size:
            raise UserError(
                f"dream.batch:={dream.batch} is no multiple of dream.group_size:={dream.group_size}"
            )
        self.options, self.seeds = options, np.array(seeds)
        width, realisations = observation.shape[0], len(seeds)
        self.head = head_of(spaces, options.policy.deviation)
        self.inputs = Inputs(observation, realisations, options.scale_inputs)
        self.action_floor: ActionFloor | None = None
        if options.policy.min_action_use and isinstance(self.head, Softmax):
            self.action_floor = ActionFloor(self.head, realisations, options.policy.min_action_use)
        critic = Critic(self._generators(_CRITIC), width, options) if options.critic.neurons else None
        self.actor = Actor(self._generators(_ACTOR), width, self.head.outputs, options, critic)
        self.awake = Stream(self.actor)
        self.steps, self.dreams = np.zeros((), np.int64), np.zeros((), np.int64)
        self._reward: Array = np.zeros(realisations, np.float32)
        # running means of values after rewards that end rollouts, below 0 and above, and their numbers
        self.end_values, self._ends_seen = np.zeros((2, realisations, 2), np.float32)
        self.model: Model | None = None
        self.imagination: Imagination | None = None
        if options.world_model:
            self.model = Model(self._generators(_MODEL), width, self.head.codes, options)
            self.imagination = Imagination(
                self.actor, self.model, self.head, self.inputs, self._generators, self.end_values
            )

    def _generators(self, purpose: int, number: int = 0, count: int = 1) -> list[np.random.Generator]:
        """``count`` random generators for each realisation, one realisation after the other."""
        numbers = range(number, number + count)
        return [np.random.default_rng([seed, purpose, n]) for seed in self.seeds for n in numbers]

    # --- awake ---

    def see(self, observation: NDArray) -> Array:
        """Process observations ``[R, D]``; returns the policies' outputs, ``[R, K]``."""
        self.inputs.update(observation)
        self._seen = self.inputs(observation)
        if self.imagination:
            self.imagination.remember(int(self.steps), self._seen, self.awake)
        self._outputs = self.awake.see(self._seen, self._reward)
        terminal = self.options.dream.terminal_reward
        if terminal and (np.abs(self._reward) >= terminal).any():
            self._update_end_values()
        return self._outputs

    def choose(self, actions: NDArray) -> None:
        """Process the actions ``[R]`` or ``[R, A]`` chosen from the last outputs."""
        o = self.options.policy
        score = self.head.score(self._outputs, actions)
        bonus = self.head.entropy_gradient(self._outputs)
        if self.action_floor:
            bonus += self.action_floor.gradient(self._outputs, float(self.actor.sharpness / o.sharpness))
        bonus *= np.float32(o.entropy)
        if self.steps < o.learn_after or not o.learn_awake:
            score, bonus = np.zeros_like(score), np.zeros_like(bonus)
        self.awake.choose(score, bonus)
        if self.model:
            now, code = self.model.activity, self.head.code(actions)
            self._prediction = self.model.predict(now, self._seen, code, learning=True)

    def follow(self, observation: NDArray, reward: Array, terminated: bool, truncated: bool) -> None:
        """Process the results of a step: next observations ``[R, D]``, rewards ``[R]``, ends of episodes."""
        following, over = self.inputs(observation), terminated or truncated
        if self.model:
            self.model.correct(self._prediction, self._seen, following, reward)
        ahead, step = self.options.plan.steps, int(self.steps)
        if self.imagination and ahead and not over and self.can_dream and step % (2 * ahead) == 0:
            self.imagination.plan(following, self.awake, step)
        self._reward = reward
        if over:
            self.awake.end(reward, None if terminated else following)
            self.awake.rest()
            self._reward = np.zeros_like(reward)
            if self.model:
                self.model.begin()
        self.steps += 1
        if self.actor.critic and self.steps % self.options.critic.every == 0:
            self.awake.learn_values()
        if self.steps == self.options.warmup:
            self.awake.forget()

    def learn(self) -> None:
        """One update of the actor (Adam) with the gradient credited awake and in plans since the last one."""
        streams = [self.awake]
        if self.imagination and self.imagination.planned:
            streams.append(self.imagination.learnable(self.imagination.planned))
        if isinstance(self.head, Softmax):
            self.actor.sharpen(int(self.steps) - self.options.policy.learn_after)
        self.actor.learn(*streams)
        self.inputs.refresh()

    def _update_end_values(self) -> None:
        """Update the running means of values after rewards that would end a rollout."""
        terminal, reward = self.options.dream.terminal_reward, self._reward
        ends = np.stack([reward <= -terminal, reward >= terminal], 1)
        self._ends_seen += ends
        weight = np.maximum(1 / np.maximum(self._ends_seen, 1), _FORGET_ENDS).astype(np.float32)
        error = self.awake.value[:, None] - self.end_values
        self.end_values += np.where(ends, weight * error, np.float32(0))

    # --- dreaming ---

    @property
    def can_dream(self) -> bool:
        """True if there is a model and the policy learns already."""
        first = max(self.options.warmup, self.options.policy.learn_after)
        return self.model is not None and bool(self.steps > first)

    def dream(self, count: int | None = None) -> dict[str, float]:
        """Dream ``count`` rollouts per realisation, and make one update of the actor.

        Args:
            count: number of dreams, at most `dream.batch` (default).

        Returns:
            Means over the dreams: `dream_return` and `dream_length`.

        Raises:
            UserError: if there is no model.
        """
        if not self.imagination:
            raise UserError("there is no world model to dream in: world_model is false")
        batch = self.options.dream.batch
        count = min(count or batch, batch)
        report = self.imagination.dream(count, int(self.dreams), int(self.steps))
        self.dreams += count
        return report

    # --- snapshots ---

    def snapshot(self) -> dict[str, Tensor]:
        """Copies of the complete state, by name."""
        arrays = {name: torch.from_numpy(array.copy()) for name, array in _flat(self._state()).items()}
        statistics = flatten({"statistics": s.state_dict()}) if (s := self.inputs.statistics) else {}
        return arrays | {name: value.clone() for name, value in statistics.items()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        for name, array in _flat(self._state()).items():
            array[...] = snapshot[name].numpy()
        if self.inputs.statistics:
            self.inputs.statistics.load_state_dict(unflatten(snapshot)["statistics"])

    def _state(self) -> dict[str, Any]:
        """The state by the names of version 0.1, which snapshots still use."""
        state = {
            "inputs": self.inputs.state(),
            "actor": self.actor.state(),
            "awake": self.awake.state(),
            "critic": self.actor.critic.state() if self.actor.critic else {},
            "seeds": self.seeds,
            "steps": self.steps,
            "dreams": self.dreams,
            "last_reward": self._reward,
            "afterwards": self.end_values,
            "ends_seen": self._ends_seen,
            "uses": {"mean": self.action_floor.mean} if self.action_floor else {},
        }
        if self.model and self.imagination:
            state |= {"model": self.model.state()} | self.imagination.state()
        return state


def _flat(nested: Mapping[str, Any], path: str = "") -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for key, value in nested.items():
        found |= _flat(value, f"{path}{key}/") if isinstance(value, Mapping) else {path + key: value}
    return found
