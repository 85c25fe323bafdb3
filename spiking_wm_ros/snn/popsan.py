"""The population-coded spiking actor (PopSAN, Tang et al. 2020)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiking_wm_ros.snn.coding import GaussianPopulation, PopulationDecoder, regular_spikes
from spiking_wm_ros.snn.neurons import clif


@dataclass(frozen=True)
class PopSANSizes:
    """Sizes and constants of the actor."""

    ticks: int = 5
    hidden: tuple[int, ...] = (256, 256)
    population: int = 10
    reach: float = 3.0
    deviation: float = 0.4


class PopSAN(nn.Module):
    """Population encoder, layers of current-based LIF neurons, population decoder.

    Every layer, the output populations included, is spiking; neurons rest at the start of each
    decision, so a decision depends on its observation alone.

    Args:
        observation_size: number of observation values, normalised to about unit variance.
        action_size: number of action values.
        sizes: see `PopSANSizes`.
    """

    def __init__(self, observation_size: int, action_size: int, sizes: PopSANSizes = PopSANSizes()):
        super().__init__()
        self.sizes = sizes
        self.encoder = GaussianPopulation(observation_size, sizes.population, sizes.reach, sizes.deviation)
        widths = (observation_size * sizes.population, *sizes.hidden, action_size * sizes.population)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(widths, widths[1:]))
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5)
        self.decoder = PopulationDecoder(action_size, sizes.population)

    def spikes(self, observation: Tensor) -> list[Tensor]:
        """Spike trains ``[T, B, N]`` of the encoder and of every layer, for ``[B, D]``."""
        reach = self.sizes.reach
        activity = self.encoder(observation.clamp(-reach, reach))
        trains = [regular_spikes(activity, self.sizes.ticks)]
        for layer in self.layers:
            trains.append(clif(F.linear(trains[-1], layer.weight, layer.bias))[0])
        return trains

    def forward(self, observation: Tensor) -> Tensor:
        """Actions ``[B, A]`` in ``[-1, 1]`` for normalised observations ``[B, D]``."""
        return torch.tanh(self.decoder(self.spikes(observation)[-1].mean(0)))
