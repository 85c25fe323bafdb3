"""Networks for values of discrete actions: spiking (Liu et al. 2022), or with ReLU (Mnih et al. 2015)."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from spiking_wm.chips.network import Layer
from spiking_wm.neurons.integrate_and_fire import KINDS, Constants, fire
from spiking_wm.neurons.sizes import QSizes

_LIVELY = 2.0  # deviation of currents before anything is seen, and mean of those of values, in thresholds
_CEILING = 2.0  # of rounded activity, to begin with
_MADE_FOR, _LIT = 16, 0.1  # pictures that networks are made for before any is seen; share of bright pixels


class Activity(NamedTuple):
    """What the layers of a network did."""

    spikes: list[Tensor]  # of each layer, ``[T, B, ...]``
    values: Tensor  # ``[B, A]``


class QNetwork(nn.Module):
    """Convolutions where pictures are observed, a hidden layer, and a read-out.

    The currents of the first layer do not change over the ticks (direct encoding). Values are read out of
    mean rates, or with ``spiking_output`` are rates themselves. Without spikes there is one tick, and units
    are ReLU, or with ``levels`` what a converted neuron can tell in so many ticks (Bu et al. 2022):
    rounded, and clipped at a ceiling that each channel learns.

    Args:
        shape: of an observation, ``[height, width, C]`` or ``[D]``.
        actions: ``A``.
        sizes: of all layers.
    """

    def __init__(self, shape: tuple[int, ...], actions: int, sizes: QSizes):
        super().__init__()
        self.sizes, self.pictures, self.shape = sizes, len(shape) == 3, shape
        widths = (shape[-1], *(sizes.channels if self.pictures else ()))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, kernel, stride)
            for i, o, kernel, stride in zip(widths, widths[1:], sizes.kernels, sizes.strides)
        )
        side = shape
        for layer in self.convolutions:
            side = [(size - layer.kernel_size[0]) // layer.stride[0] + 1 for size in side[:2]]
        flat = widths[-1] * side[0] * side[1] if self.pictures else shape[0]
        self.hidden = nn.Linear(flat, sizes.hidden)
        self.readout = nn.Linear(sizes.hidden, actions)
        if sizes.levels:
            for layer in (*self.convolutions, self.hidden):
                layer.log_ceiling = nn.Parameter(torch.full(layer.bias.shape, _CEILING).log())
        self.to(memory_format=torch.channels_last)
        if sizes.spiking:
            lit = (torch.rand(_MADE_FOR, *shape) < _LIT).float() * 255
            self.wake(lit if self.pictures else torch.randn(_MADE_FOR, *shape), _LIVELY)

    @property
    def constants(self) -> Constants:
        """Of its neurons."""
        return KINDS[self.sizes.neuron]

    def layers(self) -> "Iterator[nn.Conv2d | nn.Linear]":
        """Those whose units spike, first to last."""
        yield from (*self.convolutions, self.hidden)
        if self.sizes.spiking and self.sizes.spiking_output:
            yield self.readout

    def forward(self, observation: Tensor) -> Tensor:
        """Values ``[B, A]`` of observations ``[B, height, width, C]`` (0 to 255) or ``[B, D]``."""
        return self.values(self.features(observation))

    def features(self, observation: Tensor) -> Tensor:
        """Mean rates ``[B, H]`` of the last hidden layer."""
        activity = self.enter(observation)
        for layer in (*self.convolutions, self.hidden):
            activity, potential = self._unit(layer, activity)
        return self._rates(activity, potential)

    def _rates(self, activity: Tensor, potential: Tensor) -> Tensor:
        if not (self.sizes.spiking and self.constants.residual):
            return activity.mean(0)
        left = potential - self.constants.start
        return ((activity.sum(0) + left) / len(activity)).clamp_min(0)

    def values(self, features: Tensor) -> Tensor:
        """Values ``[B, A]`` by `features`."""
        if not (self.sizes.spiking and self.sizes.spiking_output):
            return self.readout(features)
        return self._unit(self.readout, features[None])[0].mean(0)

    def enter(self, observation: Tensor) -> Tensor:
        """Observations as the first layer sees them, ``[1, B, ...]``."""
        activity = observation[None].to(self.hidden.weight.dtype)
        return activity / 255 if self.pictures else activity

    def currents(self, layer: "nn.Conv2d | nn.Linear", activity: Tensor) -> Tensor:
        """Currents ``[T, B, ...]`` of a layer's units, channels last."""
        if isinstance(layer, nn.Linear):
            return layer(activity.flatten(2))
        currents = layer(activity.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return currents.unflatten(0, activity.shape[:2])

    def _unit(self, layer: "nn.Conv2d | nn.Linear", activity: Tensor) -> tuple[Tensor, Tensor]:
        """Activity ``[T, B, ...]`` of a layer's units, and potentials after it."""
        currents = self.currents(layer, activity)
        if self.sizes.spiking:
            if self.constants.waits:
                currents = currents.mean(0, keepdim=True)
            return fire(currents.float(), self.sizes.ticks, self.constants)
        if self.sizes.levels:
            return rounded(currents, layer.log_ceiling.exp(), self.sizes.levels), currents[-1]
        return currents.relu(), currents[-1]

    @torch.no_grad()
    def chip_layers(self) -> tuple[Layer, ...]:
        """The hidden layers, for chips; values are read out on the host."""
        constants, layers = self.constants, []
        least = float(np.nextafter(constants.threshold, 0))  # these fire at the threshold, not above it
        shape, scale = self.shape, 1 / 255 if self.pictures else 1.0
        for layer in (*self.convolutions, self.hidden):
            weights = layer.weight.detach().double().numpy() * (scale * constants.gain)
            bias = layer.bias.detach().double().numpy() * constants.gain
            stride = layer.stride[0] if layer in self.convolutions else 0
            reset = constants.threshold if constants.soft else 0.0
            layers.append(
                Layer(
                    weights,
                    bias,
                    0.0,
                    1 - constants.leak,
                    least,
                    stride,
                    shape if stride else (),
                    start=constants.start,
                    reset=reset,
                )
            )
            scale = 1.0
            if stride:
                shape = (*layers[-1].side, len(bias))
        return tuple(layers)

    @torch.no_grad()
    def activity(self, observation: Tensor) -> Activity:
        """What every spiking layer does about observations, and the values."""
        activity, spikes = self.enter(observation), []
        for layer in (*self.convolutions, self.hidden):
            activity, potential = self._unit(layer, activity)
            spikes.append(activity)
        return Activity(spikes, self.values(self._rates(activity, potential)))

    @torch.no_grad()
    def wake(self, observation: Tensor, lively: float | None = None) -> None:
        """Scale weights, layer by layer, so that currents about such observations cross thresholds.

        As in Mishkin & Matas (2016), with the threshold as the measure: a network as PyTorch draws it never
        fires a spike.

        Args:
            observation: some, ``[B, height, width, C]`` or ``[B, D]``.
            lively: deviation of currents, in thresholds; without it that of the network's sizes.
        """
        lively = lively or self.sizes.lively
        activity = self.enter(observation)
        for layer in self.layers():
            layer.bias.zero_()
            if layer is self.readout:
                activity = activity.mean(0, keepdim=True)
            threshold = self.constants.threshold
            spread = self.currents(layer, activity).std()
            if spread > 0:  # where nothing at all is seen, there is nothing to go by
                layer.weight *= lively * threshold / spread
            if layer is self.readout:  # so few neurons that each has to fire
                layer.bias += _LIVELY * threshold - self.currents(layer, activity).mean((0, 1))
            activity, _ = self._unit(layer, activity)


def rounded(currents: Tensor, ceiling: Tensor, levels: int) -> Tensor:
    """Currents between 0 and the ceiling, rounded to so many levels; a gradient goes through rounding."""
    level = (currents / ceiling).clamp(0, 1) * levels
    return (level + ((level + 0.5).floor() - level).detach()) * (ceiling / levels)
