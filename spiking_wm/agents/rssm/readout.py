"""How observations get into spiking networks, and what is read out of them."""

import torch
from torch import Tensor, nn

from spiking_wm.agents.rssm.symlog import symlog
from spiking_wm.neurons.compartments import LAYERED, Neurons
from spiking_wm.neurons.layers import LAYERS, PortNorm
from spiking_wm.neurons.sizes import RSSMSizes

_CHANNELS = (1, 2, 4, 8)  # of the convolutions, in multiples of the first one's
_KERNEL, _STRIDE = 4, 2
_SIDES = (32, 16, 8, 4)  # of the maps after each, for a picture of 64 x 64


def _stack(inputs: int, layers: int, sizes: RSSMSizes) -> nn.ModuleList:
    layer = LAYERS[sizes.spiking]
    return nn.ModuleList(layer(inputs if k == 0 else sizes.hidden, sizes) for k in range(layers))


class Readout(nn.Module):
    """Layers that see features, then a linear read-out of their mean rate over ticks.

    Args:
        outputs: width.
        layers: how many, at least one.
        sizes: of the layers and of features.
        scale: factor on the read-out's first weights; 0 says the same of everything to begin with.
    """

    def __init__(self, outputs: int, layers: int, sizes: RSSMSizes, scale: float = 1.0):
        super().__init__()
        self.layers, self.linear = _stack(sizes.neurons, layers, sizes), nn.Linear(sizes.hidden, outputs)
        self.of_sample = nn.Linear(sizes.variables * sizes.classes, sizes.hidden, bias=False)
        with torch.no_grad():
            self.linear.weight *= scale
            self.linear.bias.zero_()

    def forward(self, spikes: Tensor, sample: Tensor) -> Tensor:
        """``[..., outputs]`` for `rssm.Features`."""
        first, *others = self.layers
        activity = first(spikes, self.of_sample(sample))
        for layer in others:
            activity = layer(activity)
        return self.linear(activity.mean(0))


class VectorEncoder(nn.Module):
    """Layers that see ``symlog`` of vectors, ``[..., D]``, and give ``[T, ..., hidden]``."""

    def __init__(self, inputs: int, layers: int, sizes: RSSMSizes):
        super().__init__()
        self.layers, self.width = _stack(inputs, layers, sizes), sizes.hidden

    def forward(self, observation: Tensor) -> Tensor:
        """Activity over ticks."""
        activity = symlog(observation)[None]
        for layer in self.layers:
            activity = layer(activity)
        return activity


class PictureEncoder(nn.Module):
    """Four convolutions over pictures ``[..., 64, 64, C]`` of 0 to 255; gives ``[T, ..., E]``.

    Args:
        channels: ``C``.
        depth: channels of the first convolution.
        sizes: whether it spikes, ticks, gain.
    """

    def __init__(self, channels: int, depth: int, sizes: RSSMSizes):
        super().__init__()
        widths = [channels, *(depth * factor for factor in _CHANNELS)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, _KERNEL, _STRIDE, padding=1, bias=False) for i, o in zip(widths, widths[1:])
        )
        start = (sizes.gain, sizes.bias) if sizes.spiking else (1.0, 0.0)
        self.norms = nn.ModuleList(PortNorm(1, width, *start) for width in widths[1:])
        maps = [LAYERED[sizes.layered](width * side**2) for width, side in zip(widths[1:], _SIDES)]
        self.neurons = nn.ModuleList(maps if sizes.spiking else len(maps) * [nn.SiLU()])
        self.spiking, self.ticks, self.averaged = sizes.spiking, sizes.ticks, sizes.averaged
        self.width = widths[-1] * _SIDES[-1] ** 2

    def forward(self, pictures: Tensor) -> Tensor:
        """Activity over ticks."""
        x = pictures.reshape(1, -1, *pictures.shape[-3:]).permute(0, 1, 4, 2, 3)
        x = x.to(self.convolutions[0].weight.dtype) / 255 - 0.5
        for convolution, norm, neurons in zip(self.convolutions, self.norms, self.neurons):
            currents = convolution(x.flatten(0, 1)).movedim(-3, -1)
            currents = norm(currents).movedim(-1, -3).unflatten(0, x.shape[:2])
            x = self._fire(neurons, currents) if self.spiking else neurons(currents)
        return x.reshape(len(x), *pictures.shape[:-3], self.width)

    def _fire(self, neurons: Neurons, currents: Tensor) -> Tensor:
        spikes = neurons.from_rest(currents.flatten(2), self.ticks, self.averaged)
        return spikes.unflatten(-1, currents.shape[2:])


class PictureDecoder(nn.Module):
    """Transposed convolutions from features to pictures ``[..., 64, 64, C]`` of -0.5 to 0.5.

    It is read out of mean rates, so nothing in it spikes: pictures are judged, not passed on.
    """

    def __init__(self, channels: int, depth: int, sizes: RSSMSizes):
        super().__init__()
        features = sizes.neurons + sizes.variables * sizes.classes
        widths = [depth * factor for factor in reversed(_CHANNELS)]
        self.enter = nn.Linear(features, widths[0] * _SIDES[-1] ** 2)
        self.convolutions = nn.ModuleList(
            nn.ConvTranspose2d(i, o, _KERNEL, _STRIDE, padding=1) for i, o in zip(widths, widths[1:])
        )
        self.norms = nn.ModuleList(PortNorm(1, width, 1.0) for width in widths[1:])
        self.last = nn.ConvTranspose2d(widths[-1], channels, _KERNEL, _STRIDE, padding=1)

    def forward(self, spikes: Tensor, sample: Tensor) -> Tensor:
        """Pictures for `rssm.Features`."""
        rates = torch.cat([spikes.mean(0), sample], -1)
        x = self.enter(rates.flatten(0, -2)).unflatten(-1, (-1, _SIDES[-1], _SIDES[-1]))
        for convolution, norm in zip(self.convolutions, self.norms):
            x = nn.functional.silu(norm(convolution(x).movedim(-3, -1)).movedim(-1, -3))
        return self.last(x).movedim(-3, -1).unflatten(0, rates.shape[:-1])
