"""Q-networks for discrete actions: spiking (Liu et al. 2022), or with ReLU (Mnih et al. 2015)."""

from typing import NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from spiking_wm.agents.dqn.options import NetworkOptions
from spiking_wm.chips.network import Layer
from spiking_wm.neurons.integrate_and_fire import KINDS, Constants, fire

Synapses = nn.Conv2d | nn.Linear

# before the first observation: deviation of currents, in thresholds; also the mean of the values' currents
_INIT_GAIN = 2.0
_INIT_PICTURES, _INIT_BRIGHT = 16, 0.1  # random pictures of that initialisation; share of bright pixels
_INIT_CEILING = 2.0  # of rounded activity


class Activity(NamedTuple):
    """Spikes of the layers of a network, and its values."""

    spikes: list[Tensor]  # of each layer, [T, B, ...]
    values: Tensor  # [B, A]


class QNetwork(nn.Module):
    """Convolutions (for pictures), a hidden layer, and a read-out.

    The input currents of the first layer are constant over the time steps (direct encoding). Values are a
    linear read-out of the hidden layer's firing rates, or with ``spiking_output`` firing rates themselves.
    Without spikes there is one time step, and units are ReLU. With ``levels``, activity is clipped at a
    learned ceiling per channel and rounded to values that a converted neuron can represent in this number of
    time steps (Bu et al. 2022).

    Args:
        shape: shape of an observation, ``[height, width, C]`` (pictures) or ``[D]``.
        actions: number of actions ``A``.
        options: layers and neurons.
        spiking: True: units are spiking neurons; False: no spikes.
        levels: levels of rounded activity, without spikes; 0: ReLU.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        actions: int,
        options: NetworkOptions,
        spiking: bool = True,
        levels: int = 0,
    ):
        super().__init__()
        self.shape, self.options, self.spiking, self.levels = shape, options, spiking, levels
        self.pictures = len(shape) == 3
        widths = (shape[-1], *(options.channels if self.pictures else ()))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, kernel, stride)
            for i, o, kernel, stride in zip(widths, widths[1:], options.kernels, options.strides)
        )
        flat = shape[0]
        if self.pictures:
            height, width = shape[:2]
            for kernel, stride in zip(options.kernels, options.strides):
                height, width = ((side - kernel) // stride + 1 for side in (height, width))
            flat = widths[-1] * height * width
        self.hidden = nn.Linear(flat, options.hidden)
        self.readout = nn.Linear(options.hidden, actions)
        if levels:
            for layer in self.hidden_layers:
                layer.log_ceiling = nn.Parameter(torch.full((len(layer.weight),), _INIT_CEILING).log())
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's type hints
        if spiking:
            bright = (torch.rand(_INIT_PICTURES, *shape) < _INIT_BRIGHT).float() * 255
            self.init_from_data(bright if self.pictures else torch.randn(_INIT_PICTURES, *shape), _INIT_GAIN)

    @property
    def constants(self) -> Constants:
        """Constants of its neurons."""
        return KINDS[self.options.neuron]

    @property
    def hidden_layers(self) -> tuple[Synapses, ...]:
        """All layers but the read-out, first to last."""
        return (*cast("list[nn.Conv2d]", self.convolutions), self.hidden)

    @property
    def spiking_layers(self) -> tuple[Synapses, ...]:
        """Layers whose units are spiking neurons in a spiking network, first to last."""
        rates = self.spiking and self.options.spiking_output
        return (*self.hidden_layers, self.readout) if rates else self.hidden_layers

    def forward(self, observation: Tensor) -> Tensor:
        """Values ``[B, A]`` of observations ``[B, height, width, C]`` (0 to 255) or ``[B, D]``."""
        return self.values(self.features(observation))

    def features(self, observation: Tensor) -> Tensor:
        """Firing rates (spikes per time step) of the hidden layer, or its activity, ``[B, H]``."""
        activity = self.enter(observation)
        for layer in self.hidden_layers:
            activity, potential = self.units(layer, activity)
        return self._rates(activity, potential)

    def _rates(self, activity: Tensor, potential: Tensor) -> Tensor:
        if not (self.spiking and self.constants.residual):
            return activity.mean(0)
        left = potential - self.constants.start
        return ((activity.sum(0) + left) / len(activity)).clamp_min(0)

    def values(self, features: Tensor) -> Tensor:
        """Values ``[B, A]`` for `features` ``[B, H]``."""
        if not (self.spiking and self.options.spiking_output):
            return self.readout(features)
        return self.units(self.readout, features[None])[0].mean(0)

    def enter(self, observation: Tensor) -> Tensor:
        """Observations as input of the first layer, ``[1, B, ...]``; pictures are scaled to 0 to 1."""
        activity = observation[None].to(self.hidden.weight.dtype)
        return activity / 255 if self.pictures else activity

    def currents(self, layer: Synapses, activity: Tensor) -> Tensor:
        """Input currents ``[T, B, ...]`` of a layer's units, channels last."""
        if isinstance(layer, nn.Linear):
            return layer(activity.flatten(2))
        currents = layer(activity.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return currents.unflatten(0, activity.shape[:2])

    def units(self, layer: Synapses, activity: Tensor) -> tuple[Tensor, Tensor]:
        """Activity ``[T, B, ...]`` of a layer's units, and their final potentials ``[B, ...]``."""
        currents = self.currents(layer, activity)
        if self.spiking:
            if self.constants.waits:
                currents = currents.mean(0, keepdim=True)
            spikes, state = fire(currents.float(), self.options.ticks, self.constants)
            return spikes, state.potential
        if self.levels:
            return rounded(currents, ceilings(layer), self.levels), currents[-1]
        return currents.relu(), currents[-1]

    @torch.no_grad()
    def chip_layers(self) -> tuple[Layer, ...]:
        """The hidden layers, for chips; values are read out on the host."""
        constants, layers = self.constants, []
        # neurons on a chip fire above the threshold, these at the threshold
        threshold = float(np.nextafter(constants.threshold, 0))
        shape, scale = self.shape, 1 / 255 if self.pictures else 1.0
        for layer in self.hidden_layers:
            weights = layer.weight.detach().double().numpy() * (scale * constants.gain)
            bias = bias_of(layer).detach().double().numpy() * constants.gain
            stride = layer.stride[0] if isinstance(layer, nn.Conv2d) else 0
            layers.append(
                Layer(
                    weights,
                    bias,
                    0.0,
                    1 - constants.leak,
                    threshold,
                    stride,
                    shape if stride else (),
                    start=constants.start,
                    reset=constants.threshold if constants.soft else 0.0,
                )
            )
            scale = 1.0
            if stride:
                shape = (*layers[-1].side, len(bias))
        return tuple(layers)

    @torch.no_grad()
    def activity(self, observation: Tensor) -> Activity:
        """Activity of every hidden layer for observations ``[B, ...]``, and the values."""
        activity, spikes = self.enter(observation), []
        for layer in self.hidden_layers:
            activity, potential = self.units(layer, activity)
            spikes.append(activity)
        return Activity(spikes, self.values(self._rates(activity, potential)))

    @torch.no_grad()
    def init_from_data(self, observation: Tensor, gain: float | None = None) -> None:
        """Scale weights, layer by layer, so that input currents for these observations cross thresholds.

        As in Mishkin & Matas (2016), but in units of the threshold. Without it, a network with PyTorch's
        default initialisation does not fire.

        Args:
            observation: observations ``[B, height, width, C]`` or ``[B, D]``.
            gain: standard deviation of currents, in thresholds; None: ``init_gain`` of the options.
        """
        gain = gain or self.options.init_gain
        activity, threshold = self.enter(observation), self.constants.threshold
        for layer in self.spiking_layers:
            bias = bias_of(layer).zero_()
            if layer is self.readout:
                activity = activity.mean(0, keepdim=True)
            deviation = self.currents(layer, activity).std()
            if deviation > 0:  # not possible if all observations are zero
                layer.weight *= gain * threshold / deviation
            if layer is self.readout:  # few neurons: each must fire
                bias += _INIT_GAIN * threshold - self.currents(layer, activity).mean((0, 1))
            activity, _ = self.units(layer, activity)


def bias_of(layer: Synapses) -> Tensor:
    """The bias of a layer, ``[C]``; all layers have one."""
    return cast(Tensor, layer.bias)


def ceilings(layer: Synapses) -> Tensor:
    """Learned ceilings of rounded activity of a layer's channels, ``[C]``."""
    return cast(Tensor, layer.log_ceiling).exp()


def rounded(currents: Tensor, ceiling: Tensor, levels: int) -> Tensor:
    """Activity clipped to 0 to a ceiling and rounded to levels; the gradient ignores the rounding.

    Args:
        currents: ``[..., C]``.
        ceiling: ``[C]``.
        levels: above zero.
    """
    level = (currents / ceiling).clamp(0, 1) * levels
    return (level + ((level + 0.5).floor() - level).detach()) * (ceiling / levels)
