"""Encoders of observations, and read-outs (heads) of the model's state, spiking or not."""

import torch
from torch import Tensor, nn

from spiking_wm.agents.rssm.options import Sizes
from spiking_wm.agents.rssm.symlog import symlog
from spiking_wm.neurons.compartments import LAYERED, Neurons
from spiking_wm.neurons.layers import LAYERS, PortNorm

_CHANNELS = (1, 2, 4, 8)  # channels of the convolutions, in multiples of the first one's
_KERNEL, _STRIDE = 4, 2
_SIDES = (32, 16, 8, 4)  # side of the feature maps after each, for a picture of 64 x 64


def _stack(inputs: int, sizes: Sizes) -> nn.ModuleList:
    layer, widths = LAYERS[sizes.spiking], [inputs] + (sizes.layers - 1) * [sizes.hidden]
    return nn.ModuleList(layer(width, sizes.hidden, sizes.neuron) for width in widths)


class Readout(nn.Module):
    """Layers on features, then a linear read-out of their mean rates over ticks.

    Args:
        outputs: width of the output.
        sizes: of the layers and of features.
        scale: factor on the initial weights of the linear read-out; 0: the output is 0 at first.
    """

    def __init__(self, outputs: int, sizes: Sizes, scale: float = 1.0):
        super().__init__()
        self.layers, self.linear = _stack(sizes.recurrent, sizes), nn.Linear(sizes.hidden, outputs)
        self.of_sample = nn.Linear(sizes.sample, sizes.hidden, bias=False)
        with torch.no_grad():
            self.linear.weight *= scale
            self.linear.bias.zero_()

    def forward(self, spikes: Tensor, sample: Tensor) -> Tensor:
        """Outputs ``[..., outputs]`` for the fields of `Features`, ``[T, ..., N]`` and ``[..., Z]``."""
        first, *others = self.layers
        activity = first(spikes, self.of_sample(sample))
        for layer in others:
            activity = layer(activity)
        return self.linear(activity.mean(0))


class VectorEncoder(nn.Module):
    """Layers on ``symlog`` of vectors.

    Args:
        inputs: width ``D`` of an observation.
        sizes: of the layers.
    """

    def __init__(self, inputs: int, sizes: Sizes):
        super().__init__()
        self.layers, self.width = _stack(inputs, sizes), sizes.hidden

    def forward(self, observation: Tensor) -> Tensor:
        """Activity over ticks, ``[T, ..., hidden]``, for ``[..., D]``."""
        activity = symlog(observation)[None]
        for layer in self.layers:
            activity = layer(activity)
        return activity


class PictureEncoder(nn.Module):
    """Four convolutions on pictures.

    Args:
        channels: ``C`` of a picture.
        sizes: of the convolutions, and their neurons.
    """

    def __init__(self, channels: int, sizes: Sizes):
        super().__init__()
        widths, options = [channels, *(sizes.depth * factor for factor in _CHANNELS)], sizes.neuron
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, _KERNEL, _STRIDE, padding=1, bias=False) for i, o in zip(widths, widths[1:])
        )
        start = (options.gain, options.layer_bias) if sizes.spiking else (1.0, 0.0)
        self.norms = nn.ModuleList(PortNorm(1, width, *start) for width in widths[1:])
        maps = [LAYERED[options.layer_kind](width * side**2) for width, side in zip(widths[1:], _SIDES)]
        self.neurons = nn.ModuleList(maps if sizes.spiking else len(maps) * [nn.SiLU()])
        self.ticks, self.averaged = options.ticks, options.averaged
        self.width = widths[-1] * _SIDES[-1] ** 2

    def forward(self, pictures: Tensor) -> Tensor:
        """Activity over ticks, ``[T, ..., E]``, for pictures ``[..., 64, 64, C]`` of 0 to 255."""
        x = pictures.reshape(1, -1, *pictures.shape[-3:]).permute(0, 1, 4, 2, 3)
        x = x.to(next(self.convolutions.parameters()).dtype) / 255 - 0.5
        for convolution, norm, neurons in zip(self.convolutions, self.norms, self.neurons):
            currents = convolution(x.flatten(0, 1)).movedim(-3, -1)
            currents = norm(currents).movedim(-1, -3).unflatten(0, x.shape[:2])
            x = self._fire(neurons, currents) if isinstance(neurons, Neurons) else neurons(currents)
        return x.reshape(len(x), *pictures.shape[:-3], self.width)

    def _fire(self, neurons: Neurons, currents: Tensor) -> Tensor:
        spikes = neurons.from_rest(currents.flatten(2), self.ticks, self.averaged)
        return spikes.unflatten(-1, currents.shape[2:])


class PictureDecoder(nn.Module):
    """Transposed convolutions from mean rates to pictures.

    Nothing in it spikes: it serves the loss and figures, not decisions.

    Args:
        channels: ``C`` of a picture.
        sizes: of the convolutions and of features.
    """

    def __init__(self, channels: int, sizes: Sizes):
        super().__init__()
        features = sizes.recurrent + sizes.sample
        widths = [sizes.depth * factor for factor in reversed(_CHANNELS)]
        self.enter = nn.Linear(features, widths[0] * _SIDES[-1] ** 2)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(i, o, _KERNEL, _STRIDE, padding=1) for i, o in zip(widths, widths[1:])
        )
        self.norms = nn.ModuleList(PortNorm(1, width, 1.0) for width in widths[1:])
        self.last = nn.ConvTranspose2d(widths[-1], channels, _KERNEL, _STRIDE, padding=1)

    def forward(self, spikes: Tensor, sample: Tensor) -> Tensor:
        """Pictures ``[..., 64, 64, C]`` of -0.5 to 0.5 for the fields of `Features`."""
        rates = torch.cat([spikes.mean(0), sample], -1)
        x = self.enter(rates.flatten(0, -2)).unflatten(-1, (-1, _SIDES[-1], _SIDES[-1]))
        for convolution, norm in zip(self.convolutions, self.norms):
            x = nn.functional.silu(norm(convolution(x).movedim(-3, -1)).movedim(-1, -3))
        return self.last(x).movedim(-3, -1).unflatten(0, rates.shape[:-1])
