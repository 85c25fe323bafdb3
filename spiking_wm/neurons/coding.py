"""Population codes: convert real values to spikes or tuning-curve activity, and back."""

from typing import Any

import torch
from torch import Tensor, nn

from spiking_wm.neurons import lif_kernels as kernels
from spiking_wm.neurons.lif import fused


class GaussianPopulation(nn.Module):
    """``P`` Gaussian receptive fields per input dimension, learnable (Tang et al. 2020, eq. 1).

    Args:
        dimensions: number of input values ``D``.
        size: fields per value ``P``.
        reach: centres are evenly spaced on ``[-reach, reach]``.
        deviation: initial standard deviation of a field.
    """

    def __init__(self, dimensions: int, size: int, reach: float, deviation: float):
        super().__init__()
        self.centre = nn.Parameter(torch.linspace(-reach, reach, size).repeat(dimensions, 1))
        self.deviation = nn.Parameter(torch.full((dimensions, size), deviation))

    def forward(self, values: Tensor) -> Tensor:
        """Activity in ``[0, 1]`` of all fields: ``[..., D]`` to ``[..., D * P]``."""
        distance = (values.unsqueeze(-1) - self.centre) / self.deviation
        return torch.exp(-0.5 * distance.square()).flatten(-2)


THRESHOLD = 0.999  # membrane potential above which the encoder spikes


def regular_spikes(activity: Tensor, ticks: int) -> Tensor:
    """Deterministic rate code: integrate the activity; spike above `THRESHOLD` and subtract it.

    The surrogate gradient of a spike is straight-through (Tang et al. 2020, deterministic encoding).

    Args:
        activity: ``[..., N]`` in ``[0, 1]``.
        ticks: number of ticks ``T``.

    Returns:
        Spikes ``[T, ..., N]``.
    """
    if torch.is_grad_enabled():
        return _RegularSpikes.apply(activity, ticks)
    return _integrate_and_fire(activity, ticks)


def _integrate_and_fire(activity: Tensor, ticks: int) -> Tensor:
    spikes = activity.new_empty(ticks, *activity.shape)
    if fused(activity):
        flat = activity.detach().contiguous().numpy().reshape(-1)
        kernels.regular_spikes(flat, spikes.numpy().reshape(ticks, -1), THRESHOLD)
        return spikes
    membrane = torch.zeros_like(activity)
    for t in range(ticks):
        membrane = membrane + activity
        spikes[t] = membrane > THRESHOLD
        membrane = membrane - THRESHOLD * spikes[t]
    return spikes


class _RegularSpikes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activity: Tensor, ticks: int) -> Tensor:
        return _integrate_and_fire(activity, ticks)

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor) -> tuple[Tensor, None]:
        return grad_spikes.sum(0), None


class PopulationDecoder(nn.Module):
    """One learnable weighted sum of firing rates per output value (Tang et al. 2020, eq. 6).

    Args:
        dimensions: number of output values ``D``.
        size: neurons per value ``P``.
    """

    def __init__(self, dimensions: int, size: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dimensions, size).uniform_(-1, 1) / size**0.5)
        self.bias = nn.Parameter(torch.zeros(dimensions))

    def forward(self, rates: Tensor) -> Tensor:
        """Firing rates ``[..., D * P]`` to values ``[..., D]``."""
        return (rates.unflatten(-1, self.weight.shape) * self.weight).sum(-1) + self.bias
