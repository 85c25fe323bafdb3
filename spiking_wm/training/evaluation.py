"""Greedy episodes of a policy, and their returns."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from spiking_wm.core.contract import Policy
from spiking_wm.core.game_loop import CUT_OFF, Step, cut_off_warning, play
from spiking_wm.core.player import Player


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


def episode(policy: Policy, env: gym.Env, seed: int, longest: int = 0) -> Iterator[Step]:
    """Play one greedy episode and yield its steps, each after the policy received its reward.

    Args:
        policy: the policy.
        env: the environment.
        seed: of the episode.
        longest: steps after which the episode is truncated; 0: as `spiking_wm.core.game_loop.limit_of`.
    """
    player = Player(policy)
    player.reset(seed)

    def act(_: list[int], seen: list[Any]) -> list[Any]:
        return [policy.spaces.env_action(player.act(seen[0]))]

    for (step,) in play([env], [seed], act, longest):
        player.rewarded(step.reward)
        yield step


def episode_return(policy: Policy, env: gym.Env, seed: int, longest: int = 0) -> float:
    """Return of one greedy episode; arguments as `episode`."""
    return sum((step.reward for step in episode(policy, env, seed, longest)), 0.0)


def evaluate(policy: Policy, env: gym.Env, seeds: range, longest: int = 0) -> Returns:
    """Play one greedy episode per seed; arguments as `episode`. Prints a warning if one had to be cut off."""
    rewards: list[list[float]] = []
    cut_off = 0
    for seed in seeds:
        rewards.append([])
        for step in episode(policy, env, seed, longest):
            rewards[-1].append(step.reward)
        cut_off = len(rewards[-1]) if CUT_OFF in step.info else cut_off
    if cut_off:
        print(f"warning: {cut_off_warning(env, cut_off)}", flush=True)
    return Returns(tuple(sum(r, 0.0) for r in rewards), tuple(len(r) for r in rewards))
