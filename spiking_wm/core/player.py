"""A policy that acts through episodes."""

from typing import Any

import numpy as np

from spiking_wm.core.contract import Policy


class Player:
    """A policy, and its state in the episode that goes on.

    From `reset` to the end of an episode, every step is `act`, then `rewarded`. `policy` may be replaced by a
    newer version at any time; the state goes on.

    Args:
        policy: what decides.
    """

    def __init__(self, policy: Policy):
        self.policy = policy
        self.state: Any = policy.state_to_join()
        self.env: str | None = None  # that it learned in, where that is known

    def reset(self, episode: int = 0) -> None:
        """Begin an episode; what is random in greedy decisions is drawn by its number."""
        self.state = self.policy.initial_state(episode)

    def act(self, observation: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        """Choose an action.

        Args:
            observation: of the policy's observation space.
            rng: source of exploration; ``None`` asks for the greedy action.

        Raises:
            UserError: for an observation of another shape, or with NaN or infinity.
        """
        seen = self.policy.spaces.check_observation(observation)
        action, self.state = self.policy.act(seen, self.state, rng)
        return action

    def rewarded(self, reward: float) -> None:
        """Take in the reward of the last action, for policies that go by it."""
        self.state = self.policy.rewarded(self.state, reward)
