"""Train several realisations in one process, with synchronous episodes of equal length."""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

import spiking_wm.envs  # noqa: F401, registers the environments
from spiking_wm.agents.rsnn.actor_and_model import ActorAndModel
from spiking_wm.core.errors import UserError
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.game_loop import Step, play
from spiking_wm.core.presets import Setup
from spiking_wm.core.spaces import Spaces
from spiking_wm.neurons.recurrent import Array

_EVALUATION = 1_000_003  # first seed of evaluations, different from those of training


class Games:
    """Training episode by episode, with dreams in between.

    Args:
        env_id: an environment whose episodes all have the same length (time limit only).
        setup: options, and schedule of updates and dreams, as in a run.
        seeds: one per realisation.

    Raises:
        UserError: if episodes of the environment have no fixed length.
    """

    def __init__(self, env_id: str, setup: Setup, seeds: Sequence[int]):
        self._envs = [gym.make(env_id, disable_env_checker=True) for _ in seeds]
        spec = self._envs[0].spec
        if spec is None or spec.max_episode_steps is None:
            raise UserError(f"episodes of {env_id} have no fixed length: choose another env:=")
        self.steps_per_game = spec.max_episode_steps
        self.networks = ActorAndModel(setup.agent_options, Spaces.of(self._envs[0]), seeds)
        self._explorations = [Exploration(seed) for seed in seeds]
        self._schedule = setup.schedule
        names = ("games", "updates", "dream_updates", "imagined_steps", "evaluation_steps")
        self.counts = dict.fromkeys(names, 0)

    @property
    def environment_steps(self) -> int:
        """Steps of each realisation's environment in training, those before an episode included."""
        still = getattr(self._envs[0].unwrapped, "steps_before_a_game", 0)
        return self.counts["games"] * (self.steps_per_game + still)

    def play(self) -> Array:
        """One episode in every realisation, learning; returns ``[R]``."""
        networks, returns = self.networks, np.zeros(len(self._envs), np.float32)
        following: NDArray[Any] | None = None  # observations of all realisations, stacked once per step

        def act(_: list[int], seen: list[Any]) -> NDArray[Any]:
            outputs = networks.see(np.stack(seen) if following is None else following)
            at = int(networks.steps)
            noise = [
                exploration.at(at).random(networks.head.noise_width) for exploration in self._explorations
            ]
            actions = networks.head.draw(outputs, np.stack(noise))
            networks.choose(actions)
            return actions

        for number, steps in enumerate(play(self._envs, self._seeds(self.counts["games"]), act), 1):
            reward, following = _rewards(steps), np.stack([step.next_observation for step in steps])
            networks.follow(following, reward, False, number == self.steps_per_game)
            returns += reward
            self._learn()
        self.counts["games"] += 1
        return returns

    def _learn(self) -> None:
        """Do the updates and dreams that are due."""
        run, networks, steps = self._schedule, self.networks, int(self.networks.steps)
        while self.counts["updates"] < math.floor((steps - run.learn_after) * run.updates_per_step):
            networks.learn()
            self.counts["updates"] += 1
        left = run.dream.rollouts if run.dream.due(steps) and networks.can_dream else 0
        while left > 0:
            count = min(left, networks.options.dream.batch)
            networks.dream(count)
            left -= count
            self.counts["dream_updates"] += 1
            self.counts["imagined_steps"] += count * networks.options.dream.horizon

    def evaluate(self, games: int) -> Array:
        """Mean returns ``[R]`` of the greedy policies over some episodes, without learning."""
        networks, total = self.networks, np.zeros(len(self._envs), np.float32)
        network = networks.actor.network
        activity = network.at_rest()

        def act(_: list[int], seen: list[Any]) -> NDArray[Any]:
            spikes = network.tick(activity, networks.inputs(np.stack(seen)), learning=False)
            return networks.head.greedy(networks.actor.read_out(spikes))

        for game in range(games):
            activity = network.at_rest()
            for steps in play(self._envs, self._seeds(_EVALUATION + game), act):
                total += _rewards(steps)
            self.counts["evaluation_steps"] += self.steps_per_game
        return total / np.float32(games)

    def _seeds(self, game: int) -> list[int]:
        return [int(seed) * 100_003 + game for seed in self.networks.seeds]


def _rewards(steps: list[Step]) -> Array:
    return np.array([step.reward for step in steps], np.float32)
