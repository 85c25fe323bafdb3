"""Observations that need actions, and the transitions that they become."""

from typing import NamedTuple

import numpy as np

from spiking_wm.core.contract import Transition
from spiking_wm.envs.copies import Outcome


class Pending(NamedTuple):
    """An observation that needs an action, and the reward received with it; counters as in `Transition`."""

    observation: np.ndarray
    episode: int
    step: int
    episode_step: int
    evaluation: bool
    reward: float = 0.0
    seed: int = -1

    def transition(self, action: np.ndarray, outcome: Outcome, version: int, cut: bool) -> Transition:
        """The transition by an action of a policy version; ``cut`` truncates the episode."""
        return Transition(
            self.observation,
            action,
            outcome.reward,
            outcome.observation,
            outcome.terminated,
            outcome.truncated or cut,
            self.episode,
            self.step,
            version,
            self.evaluation,
            self.seed,
            outcome.life_lost,
        )

    def following(self, transition: Transition, steps: int = 1) -> "Pending":
        """The observation after a transition that does not end the episode, some ``steps`` later."""
        return self._replace(
            observation=transition.next_observation,
            step=self.step + steps,
            episode_step=self.episode_step + 1,
            reward=transition.reward,
        )
