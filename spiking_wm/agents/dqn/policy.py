"""The acting half of deep Q-networks."""

from collections.abc import Mapping

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import Options
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.core import contract
from spiking_wm.core.errors import UserError
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import unflatten

_REACH = 16.0  # of values in vectors that chips see


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


def check(options: Options, shape: tuple[int, ...]) -> None:
    """Refuse options that no network can be made of.

    Raises:
        UserError: naming what to set.
    """
    if options.converted and (options.spiking or options.spiking_output):
        raise UserError("converted:=true converts ReLU: set spiking:=false spiking_output:=false")
    if options.rounded and options.spiking:
        raise UserError("rounded:=true is for activity that does not spike: set spiking:=false")
    layers = (options.channels, options.kernels, options.strides)
    if len(shape) < 3:
        return
    if len({len(of_all) for of_all in layers}) > 1:
        raise UserError(f"channels, kernels and strides need a number for each layer, not {layers}")
    side = min(shape[:2])
    for kernel, stride in zip(options.kernels, options.strides):
        side = (side - kernel) // stride + 1
        if side < 1:
            raise UserError(
                f"pictures of {shape[0]} x {shape[1]} are too small for kernels:={list(options.kernels)}"
                f" strides:={list(options.strides)}: set smaller ones"
            )


class QPolicy(contract.Policy):
    """Acts by the highest value, with a share of random actions, in evaluations a smaller one.

    What it remembers of an episode is what random numbers of evaluations are drawn by.
    """

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        shape, actions = spaces.observation.shape, actions_of(spaces)
        check(options, shape)
        with torch.random.fork_rng():  # weights are drawn, and then loaded
            self.network = QNetwork(shape, actions, options.sizes(shape))
            self.judged = (
                QNetwork(shape, actions, options.judged_sizes(shape)) if options.converted else self.network
            )
        self._first, self._epsilon = int(spaces.action.start), 1.0

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights."""
        parts = unflatten(weights)
        self.network.load_state_dict(parts["network"])
        if self.options.converted:
            self.judged.load_state_dict(parts["converted"])
        self._epsilon = float(weights["epsilon"])

    def initial_state(self, episode: int = 0) -> tuple[Exploration, int]:
        """Random numbers of the episode, and decisions so far."""
        return Exploration(episode), 0

    @torch.inference_mode()
    def act(self, observation: np.ndarray, state: tuple, rng: np.random.Generator | None) -> tuple:
        """The action of the highest value, or any; the converted network is judged, if there is one."""
        draws, decisions = state
        epsilon = self.options.evaluation_epsilon if rng is None else self._epsilon
        draw = draws.at(decisions) if rng is None else rng
        if draw.random() < epsilon:
            action = draw.integers(self.network.readout.out_features)
        else:
            action = int(self._values(observation, self.judged if rng is None else self.network).argmax())
        return np.asarray(self._first + action), (draws, decisions + 1)

    def _values(self, observation: np.ndarray, network: QNetwork) -> Tensor:
        if self.elsewhere:
            spikes = self.elsewhere(observation.reshape(1, -1), None, None)
            if spikes is not None:
                return network.values(torch.from_numpy(spikes.mean(0, dtype=np.float32))[None])
        return network(torch.as_tensor(observation)[None])

    def chip_network(self) -> ChipNetwork:
        """All layers but the read-out, of neurons that spike from tick to tick."""
        if not self.options.spiking:
            return super().chip_network()
        return ChipNetwork(
            self.network.chip_layers(), self.options.ticks, reach=255.0 if self.network.pictures else _REACH
        )
