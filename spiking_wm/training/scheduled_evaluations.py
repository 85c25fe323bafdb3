"""Evaluations during training: greedy episodes, one after the other, in an environment of their own."""

from collections.abc import Callable

import gymnasium as gym
import numpy as np

from spiking_wm.core.contract import Transition
from spiking_wm.core.game_loop import begin, cut_off_warning, take_step
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.copies import outcome_of
from spiking_wm.training.pending import Pending

_SEEDS = 1_000_003  # first seed: the same for all evaluations, other than in training


class Evaluations:
    """Steps the environment of evaluations.

    Args:
        env: the environment.
        spaces: its spaces.
        episodes: greedy episodes per evaluation.
        longest: steps after which an episode is truncated, with a warning.
        warn: called with the text of a warning.
    """

    def __init__(
        self, env: gym.Env, spaces: Spaces, episodes: int, longest: int, warn: Callable[[str], None]
    ):
        self.env = env
        self.pending: Pending | None = None  # None between two evaluations
        self._spaces, self._episodes, self._longest, self._warn = spaces, episodes, longest, warn
        self._has_warned = False

    def begin(self, episode: int = 0, step: int = 0) -> Pending:
        """Begin an evaluation, or a later episode of one."""
        observation = self._spaces.check_observation(begin(self.env, _SEEDS + episode))
        self.pending = Pending(observation, episode, step, 0, True)
        return self.pending

    def apply(self, action: np.ndarray, policy_version: int) -> Transition:
        """Step; ``pending`` is then the next observation."""
        pending = self.pending
        assert pending is not None, "an evaluation must have begun"
        given = self._spaces.env_action(action)
        step = take_step(self.env, pending.observation, given, number=pending.step)
        cut_off = pending.episode_step + 1 >= self._longest and not step.done
        if cut_off and not self._has_warned:
            self._has_warned = True
            self._warn(cut_off_warning(self.env, self._longest))
        outcome = outcome_of(step, self._spaces)
        transition = pending.transition(action, outcome, policy_version, cut_off)
        episode = pending.episode + 1
        if not transition.done:
            self.pending = pending.following(transition)
        elif episode < self._episodes:
            self.begin(episode, pending.step + 1)
        else:
            self.pending = None
        return transition
