"""The policy of deep Q-networks."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import Options
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.core import contract
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import unflatten

_REACH = 16.0  # largest absolute value of vector observations on chips

State = tuple[Exploration, int]  # random generators of an evaluation's episode, number of decisions


class QPolicy(contract.Policy):
    """Epsilon-greedy policy; the share of random actions is smaller in evaluations.

    Its state contains the random generators of evaluations.
    """

    options: Options

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        shape, actions = spaces.observation.shape, options.check(spaces)
        count = int(actions.n)
        with torch.random.fork_rng():  # weights are drawn, and then loaded
            self.network = QNetwork(shape, count, options.network, options.spiking, options.levels(shape))
            self.greedy_network = (
                QNetwork(shape, count, options.converted_network(shape))
                if options.converted
                else self.network
            )
        self._first, self._epsilon = int(actions.start), 1.0

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights."""
        parts = unflatten(weights)
        self.network.load_state_dict(parts["network"])
        if self.options.converted:
            self.greedy_network.load_state_dict(parts["converted"])
        self._epsilon = float(weights["epsilon"])

    def initial_state(self, episode: int = 0) -> State:
        """Random numbers of the episode, and no decision so far."""
        return Exploration(episode), 0

    @torch.inference_mode()
    def act(
        self, observation: np.ndarray, state: State, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, State]:
        """The action with the highest value, or a random one.

        Without ``rng``, the converted network decides, if there is one.
        """
        draws, decisions = state
        epsilon = self.options.epsilon.evaluation if rng is None else self._epsilon
        draw = draws.at(decisions) if rng is None else rng
        if draw.random() < epsilon:
            action = int(draw.integers(self.network.readout.out_features))
        else:
            network = self.greedy_network if rng is None else self.network
            action = int(self._values(observation, network).argmax())
        return np.asarray(self._first + action), (draws, decisions + 1)

    def _values(self, observation: np.ndarray, network: QNetwork) -> Tensor:
        if self.network_runner:
            spikes = self.network_runner(observation.reshape(1, -1), None, None)
            if spikes is not None:
                return network.values(torch.from_numpy(spikes.mean(0, dtype=np.float32))[None])
        return network(torch.as_tensor(observation)[None])

    def chip_network(self) -> ChipNetwork:
        """All layers except the read-out, for chips."""
        if not self.options.spiking:
            return super().chip_network()
        return ChipNetwork(
            self.network.chip_layers(),
            self.options.network.ticks,
            reach=255.0 if self.network.pictures else _REACH,
        )
