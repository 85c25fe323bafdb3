"""A policy together with its state in the running episode."""

from typing import Any

import numpy as np

from spiking_wm.core.contract import Policy


class Player:
    """A policy and its state in the running episode.

    Call `reset` at the start of an episode, then `act` and `rewarded` at every step. `policy` may be replaced
    by a newer version at any time; the state is kept.

    Args:
        policy: the policy that chooses actions.
        own_form: `act` returns actions in the environment's own form, as `Spaces.env_action`.
        copy: of the environment that it plays in.
    """

    def __init__(self, policy: Policy, own_form: bool = False, copy: int = 0):
        self.policy, self._own_form = policy, own_form
        self.state: Any = policy.state_to_join(copy) if copy else policy.state_to_join()
        self.env: str | None = None  # environment that the policy was trained in, if known
        self.env_kwargs: dict[str, Any] = {}  # arguments of its constructor

    def reset(self, episode: int = 0) -> None:
        """Start an episode; its number seeds the random numbers of greedy decisions."""
        self.state = self.policy.initial_state(episode)

    def act(self, observation: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        """Choose an action.

        Args:
            observation: element of the policy's observation space, or of the environment's own.
            rng: random generator for exploration; ``None`` selects the greedy action.

        Raises:
            UserError: for an observation of another shape, or with NaN or infinity.
        """
        seen = self.policy.spaces.check_observation(observation)
        action, self.state = self.policy.act(seen, self.state, rng)
        return self.policy.spaces.env_action(action) if self._own_form else action

    def rewarded(self, reward: float) -> None:
        """Pass on the reward of the last action, for policies whose state depends on rewards."""
        self.state = self.policy.rewarded(self.state, reward)
