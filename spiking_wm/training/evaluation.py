"""Greedy episodes of a policy, and their returns."""

from collections.abc import Iterator
from typing import NamedTuple

import gymnasium as gym
import numpy as np

from spiking_wm.core.contract import Policy
from spiking_wm.core.game_loop import Step, play
from spiking_wm.core.player import Player

LONGEST = 1_000_000  # default limit of steps per episode


class Returns(NamedTuple):
    """Returns and lengths of greedy episodes."""

    returns: tuple[float, ...]
    lengths: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))

    @property
    def std(self) -> float:
        """Standard deviation of returns."""
        return float(np.std(self.returns))


def episode(policy: Policy, env: gym.Env, seed: int, longest: int = LONGEST) -> Iterator[Step]:
    """Play one greedy episode and yield its steps, each after the policy received its reward."""
    player = Player(policy)
    player.reset(seed)
    for (step,) in play([env], [seed], lambda _, seen: [player.act(seen[0])], longest):
        player.rewarded(step.reward)
        yield step


def episode_return(policy: Policy, env: gym.Env, seed: int, longest: int = LONGEST) -> float:
    """Return of one greedy episode, of at most ``longest`` steps."""
    return sum((step.reward for step in episode(policy, env, seed, longest)), 0.0)


def evaluate(policy: Policy, env: gym.Env, seeds: range, longest: int = LONGEST) -> Returns:
    """Play one greedy episode per seed."""
    rewards = [[step.reward for step in episode(policy, env, seed, longest)] for seed in seeds]
    return Returns(tuple(sum(r, 0.0) for r in rewards), tuple(len(r) for r in rewards))
