"""The population-coded spiking actor (PopSAN, Tang et al. 2020)."""

from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from spiking_wm.agents.popsan.options import ActorOptions
from spiking_wm.chips.grid import MANTISSAS, binary_unit, step
from spiking_wm.chips.network import Layer
from spiking_wm.neurons import lif_kernels as kernels
from spiking_wm.neurons import probe
from spiking_wm.neurons.clif_layers import Synapses, firing_rates, spike_trains
from spiking_wm.neurons.coding import THRESHOLD, GaussianPopulation, PopulationDecoder
from spiking_wm.neurons.lif import CLIFConstants


class PopSAN(nn.Module):
    """Population encoder, layers of current-based LIF neurons, population decoder.

    Every layer spikes, the output populations included. Neurons are at rest at the start of each
    decision, so a decision depends only on its observation.

    Args:
        observation_size: number of observation values, normalised to about unit variance.
        action_size: number of action values.
        sizes: see `ActorOptions`.
    """

    def __init__(self, observation_size: int, action_size: int, sizes: ActorOptions = ActorOptions()):
        super().__init__()
        self.sizes = sizes
        self.encoder = GaussianPopulation(observation_size, sizes.population, sizes.reach, sizes.deviation)
        widths = sizes.widths(observation_size, action_size)
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in zip(widths, widths[1:]))
        self.decoder = PopulationDecoder(action_size, sizes.population)

    def spikes(self, observation: Tensor) -> list[Tensor]:
        """Spike trains ``[T, B, N]`` of the encoder and of every layer, for ``[B, D]``."""
        return spike_trains(self._activity(observation), self.sizes.ticks, self.synapses())

    def forward(self, observation: Tensor) -> Tensor:
        """Actions ``[B, A]`` in ``[-1, 1]`` for normalised observations ``[B, D]``."""
        return torch.tanh(self.decoded(observation))

    def decoded(self, observation: Tensor) -> Tensor:
        """Actions ``[B, A]`` before the tanh."""
        return self.decoder(firing_rates(self._activity(observation), self.sizes.ticks, self.synapses()))

    def synapses(self) -> list[Synapses]:
        """Weights and biases of every layer; with ``bits``, rounded to a chip's grid."""
        layers = cast("Iterable[nn.Linear]", self.layers)
        own = [Synapses(layer.weight, layer.bias) for layer in layers]
        return [on_grid(layer, self.sizes.bits) for layer in own] if self.sizes.bits else own

    @torch.no_grad()
    def acting(self) -> dict[str, Tensor]:
        """The ``state_dict`` for acting: weights and biases as `synapses` gives them."""
        on_chip = {
            f"layers.{i}.{name}": value.detach()
            for i, layer in enumerate(self.synapses())
            for name, value in layer._asdict().items()
        }
        return self.state_dict() | on_chip

    def _activity(self, observation: Tensor) -> Tensor:
        reach = self.sizes.reach
        return self.encoder(observation.clamp(-reach, reach))


def chip_layers(weights: Mapping[str, Tensor]) -> tuple[Layer, ...]:
    """Layers for chips, of a `PopSAN` with this ``state_dict``."""
    count = sum(name.startswith("layers.") for name in weights) // 2

    def array(name: str) -> np.ndarray:
        return weights[name].detach().double().numpy()

    return tuple(
        Layer(array(f"layers.{i}.weight"), array(f"layers.{i}.bias"), *CLIFConstants()) for i in range(count)
    )


def on_grid(synapses: Synapses, bits: int) -> Synapses:
    """Weights and biases rounded to a chip's grid of ``bits``; gradients pass straight through."""
    largest = float(max(part.detach().abs().max() for part in synapses))
    spacing = step(bits) * binary_unit(largest, bits)
    most = MANTISSAS // step(bits) - 1
    rounded = [spacing * (part.detach() / spacing).round().clamp(-most, most) for part in synapses]
    return Synapses(*(there + (part - part.detach()) for part, there in zip(synapses, rounded)))


class EventDrivenPopSAN:
    """A `PopSAN` for one observation at a time, without gradients: weights are added spike by spike.

    A decision is `encode`, `spikes`, `decode`. A neuron that is silent in a tick costs nothing: its outgoing
    weights are not read.

    Args:
        weights: the ``state_dict`` of a `PopSAN`.
        widths: neurons of its encoder and of every layer, as `ActorOptions.widths` gives them.
        sizes: the options of the `PopSAN`.

    Raises:
        ValueError: if the weights have other sizes.
    """

    def __init__(self, weights: Mapping[str, Tensor], widths: tuple[int, ...], sizes: ActorOptions):
        plain = {name: value.detach().numpy() for name, value in weights.items()}
        found = tuple(plain[f"layers.{i}.weight"].shape for i in range(len(widths) - 1))
        if found != tuple((o, i) for i, o in zip(widths, widths[1:])):
            raise ValueError(f"layers of {widths} neurons expected, found weights of shape {found}")
        self._sizes = sizes
        self._centre, self._deviation = plain["encoder.centre"].copy(), plain["encoder.deviation"].copy()
        self._layers = [
            (np.ascontiguousarray(plain[f"layers.{i}.weight"].T), plain[f"layers.{i}.bias"].copy())
            for i in range(len(found))
        ]
        self._decoder = plain["decoder.weight"] / np.float32(sizes.ticks)
        self._offset = plain["decoder.bias"].copy()

    def encode(self, observation: np.ndarray) -> np.ndarray:
        """Spike train ``[T, N]`` of the encoder for one normalised observation ``[D]`` (float32)."""
        reach, ticks = self._sizes.reach, self._sizes.ticks
        distance = (observation.clip(-reach, reach)[:, None] - self._centre) / self._deviation
        activity = np.exp(np.float32(-0.5) * distance * distance).ravel()
        train = np.empty((ticks, len(activity)), np.float32)
        kernels.regular_spikes(activity, train, THRESHOLD)
        return train

    def spikes(self, encoded: np.ndarray) -> list[np.ndarray]:
        """Spike trains ``[T, N]`` of the encoder, as given, and of every layer."""
        trains, ticks = [encoded], len(encoded)
        for weight, bias in self._layers:
            spikes = np.empty((ticks, len(bias)), np.float32)
            kernels.clif_events(trains[-1], weight, bias, spikes, *CLIFConstants())
            trains.append(spikes)
        for train in trains:
            probe.fired(train[:, None])
        return trains

    def decode(self, train: np.ndarray) -> np.ndarray:
        """Action ``[A]`` before the tanh, for a spike train ``[T, N]`` of the last layer."""
        counts = train.sum(0, dtype=np.float32).reshape(self._decoder.shape)
        return (counts * self._decoder).sum(-1) + self._offset
