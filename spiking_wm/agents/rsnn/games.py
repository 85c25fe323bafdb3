"""Realisations that play games of equal length side by side, in one process."""

import math
from collections.abc import Sequence

import gymnasium as gym
import numpy as np

import spiking_wm.envs  # noqa: F401, registers the environments
from spiking_wm.agents.rsnn.actor_and_model import Pair
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.presets import Setup
from spiking_wm.core.spaces import Spaces
from spiking_wm.neurons.recurrent import Array

_EVALUATION = 1_000_003  # seeds of evaluations, apart from training's


class Games:
    """Training game by game, with dreams in between.

    Args:
        env_id: an environment whose episodes are all of the same length, ended by time alone.
        setup: constants, and the schedule of updates and dreams, as in a run.
        seeds: one per realisation.
    """

    def __init__(self, env_id: str, setup: Setup, seeds: Sequence[int]):
        self._envs = [gym.make(env_id, disable_env_checker=True) for _ in seeds]
        self.pair = Pair(setup.agent_options, Spaces.of(self._envs[0]), seeds)
        self._explorations = [Exploration(seed) for seed in seeds]
        self.steps_per_game = self._envs[0].spec.max_episode_steps
        self._schedule = setup.schedule
        names = ("games", "updates", "dream_updates", "imagined_steps", "evaluation_steps")
        self.counts = dict.fromkeys(names, 0)

    @property
    def environment_steps(self) -> int:
        """Steps that each realisation's environment has made in training, of whatever kind."""
        still = getattr(self._envs[0].unwrapped, "steps_before_a_game", 0)
        return self.counts["games"] * (self.steps_per_game + still)

    def play(self) -> Array:
        """One game in every realisation, learning; returns ``[R]``."""
        pair = self.pair
        observation, returns = self._begin(self.counts["games"]), np.zeros(len(self._envs), np.float32)
        for step in range(1, self.steps_per_game + 1):
            outputs, at = pair.see(observation), int(pair.steps)
            chances = [exploration.at(at).random(pair.head.chances) for exploration in self._explorations]
            actions = pair.head.draw(outputs, np.stack(chances))
            pair.choose(actions)
            observation, reward = self._act(actions)
            pair.follow(observation, reward, False, step == self.steps_per_game)
            returns += reward
            self._learn()
        self.counts["games"] += 1
        return returns

    def _learn(self) -> None:
        """Updates and dreams that are due."""
        run, pair, steps = self._schedule, self.pair, int(self.pair.steps)
        while self.counts["updates"] < math.floor((steps - run.learn_after) * run.updates_per_step):
            pair.learn()
            self.counts["updates"] += 1
        left = run.dream.rollouts if run.dream.due(steps) and pair.can_dream else 0
        while left > 0:
            count = min(left, pair.options.together)
            pair.dream(count)
            left -= count
            self.counts["dream_updates"] += 1
            self.counts["imagined_steps"] += count * pair.options.horizon

    def evaluate(self, games: int) -> Array:
        """Mean returns ``[R]`` of the greedy policies over some games, with nothing learned."""
        actor, total = self.pair.actor, np.zeros(len(self._envs), np.float32)
        for game in range(games):
            observation, activity = self._begin(_EVALUATION + game), actor.network.at_rest()
            for _ in range(self.steps_per_game):
                spikes = actor.network.tick(activity, self.pair.inputs(observation), learning=False)
                observation, reward = self._act(self.pair.head.greedy(actor.read_out(spikes)))
                total += reward
            self.counts["evaluation_steps"] += self.steps_per_game
        return total / games

    def _begin(self, game: int) -> Array:
        seeds = [int(seed) * 100_003 + game for seed in self.pair.seeds]
        return np.stack([env.reset(seed=seed)[0] for env, seed in zip(self._envs, seeds)])

    def _act(self, actions: np.ndarray) -> tuple[Array, Array]:
        steps = [env.step(action) for env, action in zip(self._envs, actions)]
        return np.stack([step[0] for step in steps]), np.array([step[1] for step in steps], np.float32)
