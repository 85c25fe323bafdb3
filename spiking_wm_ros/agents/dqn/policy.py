"""The acting half of deep Q-networks."""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from spiking_wm_ros.agents import contract
from spiking_wm_ros.agents.dqn.options import Options
from spiking_wm_ros.agents.exploration import Exploration
from spiking_wm_ros.agents.spaces import Spaces
from spiking_wm_ros.agents.tensors import unflatten
from spiking_wm_ros.errors import UserError
from spiking_wm_ros.snn.conversion import converted_activity
from spiking_wm_ros.snn.q_network import QNetwork


def actions_of(spaces: Spaces) -> int:
    """How many there are.

    Raises:
        UserError: for spaces that Q-networks do not serve.
    """
    if not isinstance(spaces.action, Discrete) or len(spaces.observation.shape) not in (1, 3):
        raise UserError(
            f"dqn chooses among discrete actions by vectors or pictures, not {spaces.action} by"
            f" {spaces.observation.shape}: choose another env:="
        )
    return int(spaces.action.n)


class QPolicy(contract.Policy):
    """Acts by the highest value, with a share of random actions, in evaluations a smaller one.

    What it remembers of an episode is what random numbers of evaluations are drawn by.
    """

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        with torch.random.fork_rng():  # weights are drawn, and then loaded
            self.network = QNetwork(spaces.observation.shape, actions_of(spaces), options.sizes())
        self._first, self._scale, self._epsilon = int(spaces.action.start), None, 1.0

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights."""
        self.network.load_state_dict(unflatten(weights)["network"])
        self._scale, self._epsilon = weights.get("scale"), float(weights["epsilon"])

    def initial_state(self) -> tuple[Exploration | None, int]:
        """Nothing drawn yet."""
        return None, 0

    @torch.inference_mode()
    def act(self, observation: np.ndarray, state: tuple, rng: np.random.Generator | None) -> tuple:
        """The action of the highest value, or any; greedy ones are a converted network's, if there is one."""
        draws, decisions = state
        epsilon = self._epsilon
        if rng is None:
            epsilon = self.options.evaluation_epsilon
            draws = draws or Exploration(zlib.crc32(observation.tobytes()))
            draw = draws.at(decisions)
        else:
            draw = rng
        if draw.random() < epsilon:
            action = draw.integers(self.network.readout.out_features)
        else:
            action = int(self.values(observation, converted=rng is None)[0].argmax())
        return np.asarray(self._first + action), (draws, decisions + 1)

    def values(self, observation: np.ndarray, converted: bool) -> Tensor:
        """Of all actions, ``[1, A]``."""
        seen = torch.as_tensor(observation)[None]
        if converted and self._scale is not None:
            return converted_activity(self.network, self._scale, seen, self.options.converted_ticks)[-1]
        return self.network(seen)
