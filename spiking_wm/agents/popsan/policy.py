"""The acting half of PopSAN: an event-driven spiking actor on the CPU."""

from collections.abc import Mapping

import numpy as np
from gymnasium.spaces import Box
from torch import Tensor

from spiking_wm.agents.popsan.network import EventDrivenPopSAN, chip_layers
from spiking_wm.agents.popsan.noise import deviation
from spiking_wm.agents.popsan.options import Options
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import unflatten
from spiking_wm.memory.normaliser import Normaliser


def vector_sizes(spaces: Spaces) -> tuple[int, int]:
    """Numbers of observation values and of action values.

    Raises:
        UserError: for spaces that PopSAN cannot serve.
    """
    observation, action, _ = spaces
    if len(observation.shape) != 1 or not isinstance(action, Box) or len(action.shape) != 1:
        raise UserError(
            f"popsan drives environments with vector observations and continuous actions, not"
            f" {observation.shape} and {action}: choose another env:="
        )
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise UserError("popsan needs bounded actions: set low and high of the action space")
    return observation.shape[0], action.shape[0]


class PopSANPolicy(contract.Policy):
    """The event-driven spiking actor with its observation normaliser. Decisions have no memory."""

    options: Options

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        self._sizes = vector_sizes(spaces)
        self._actions = Actions(spaces, "popsan")

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights that an `Agent` released."""
        parts = unflatten(weights)
        sizes = self.options.actor
        self._actor = EventDrivenPopSAN(parts["actor"], sizes.widths(*self._sizes), sizes)
        self._layers = chip_layers(parts["actor"])
        normaliser = Normaliser(self._sizes[0])
        normaliser.load_state_dict(parts["normaliser"])
        self._mean, self._scale = normaliser.mean.float().numpy(), normaliser.scale.numpy()
        self._clip = normaliser.clip
        self._random = bool(weights["random"])
        noise = parts.get("noise", {})
        self._deviation = deviation(noise["log_deviation"]).numpy() if noise else None

    def _normalised(self, observation: np.ndarray) -> np.ndarray:
        return ((observation - self._mean) / self._scale).clip(-self._clip, self._clip)

    def act(
        self, observation: np.ndarray, state: None, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, None]:
        """Greedy action, or with Gaussian noise; uniformly random during warm-up."""
        if rng is not None and self._random:
            code = rng.uniform(-1, 1, self._actions.width)
        else:
            code = self._explored(self._decide(observation), rng)
        return self._actions.action(code), None

    def _explored(self, decoded: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """Action ``[A]`` in ``[-1, 1]``, with noise if ``rng`` is given."""
        if rng is None:
            return np.tanh(decoded)
        if self._deviation is not None:
            return np.tanh(decoded + rng.normal(0, self._deviation))
        noise = rng.normal(0, self.options.exploration_noise, decoded.shape)
        return (np.tanh(decoded) + noise).clip(-1, 1)

    def _decide(self, observation: np.ndarray) -> np.ndarray:
        """Greedy action ``[A]`` before the tanh."""
        encoded = self._actor.encode(self._normalised(observation))
        spikes = self.network_runner(encoded, None, None) if self.network_runner else None
        return self._actor.decode(self._actor.spikes(encoded)[-1] if spikes is None else spikes)

    def chip_network(self) -> ChipNetwork:
        """All layers; populations are encoded and decoded on the host."""
        return ChipNetwork(self._layers, self.options.actor.ticks)

    def spikes(self, observation: np.ndarray) -> list[np.ndarray]:
        """Spike trains ``[T, N]`` of the encoder and of every layer, for one observation ``[D]``."""
        return self._actor.spikes(self._actor.encode(self._normalised(observation)))
