"""A chain of layers of current-based LIF neurons, from encoder activity to firing rates.

There are two implementations: layer by layer (`spike_trains`, the definition), and fused over all layers for
float32 on the CPU (`firing_rates`).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spiking_wm.neurons import lif_kernels as kernels
from spiking_wm.neurons.coding import regular_spikes
from spiking_wm.neurons.lif import CLIFConstants, clif, fused
from spiking_wm.neurons.products import factor, product


class Synapses(NamedTuple):
    """Weights and biases of a layer."""

    weight: Tensor  # [N, inputs]
    bias: Tensor  # [N]


def spike_trains(activity: Tensor, ticks: int, layers: Sequence[Synapses]) -> list[Tensor]:
    """Spike trains ``[T, B, N]`` of the encoder and of every layer, for activity ``[B, N]``."""
    trains = [regular_spikes(activity, ticks)]
    for layer in layers:
        spikes, _ = clif(F.linear(trains[-1], layer.weight, layer.bias), ticks)
        trains.append(spikes)
    return trains


def firing_rates(activity: Tensor, ticks: int, layers: Sequence[Synapses]) -> Tensor:
    """Firing rates ``[B, N]`` of the last layer: the mean over ticks of its `spike_trains`."""
    parameters = [part for layer in layers for part in layer]
    if not fused(activity, *parameters):
        return spike_trains(activity, ticks, layers)[-1].mean(0)
    if torch.is_grad_enabled():
        return _FusedLayers.apply(activity, ticks, *parameters)
    spikes, _, _ = _run(activity, ticks, parameters, keep=False)
    return spikes.mean(0)


def _run(
    activity: Tensor, ticks: int, parameters: Sequence[Tensor], keep: bool
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Spikes of the last layer ``[T, B, N]``; of every layer its inputs (a `factor`) and its membranes."""
    batch = len(activity)
    spikes, inputs, membranes = regular_spikes(activity, ticks), [], []
    for weight, bias in zip(parameters[::2], parameters[1::2]):
        inputs.append(factor(spikes))
        drive = product(inputs[-1].flatten(0, 1), weight.t()).view(ticks, batch, -1)
        spikes = torch.empty_like(drive)
        membranes.append(torch.empty_like(drive) if keep else drive)
        arrays = (x.detach().numpy() for x in (drive, bias, membranes[-1], spikes))
        kernels.clif_forward(*arrays, keep, *CLIFConstants())
    return spikes, inputs, membranes


class _FusedLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activity: Tensor, ticks: int, *parameters: Tensor) -> Tensor:
        spikes, inputs, membranes = _run(activity, ticks, parameters, keep=True)
        ctx.layers = len(membranes)
        ctx.save_for_backward(*inputs, *membranes, *parameters[::2])
        return spikes.mean(0)

    @staticmethod
    def backward(ctx: Any, grad_rates: Tensor) -> tuple[Tensor | None, ...]:
        saved, count = ctx.saved_tensors, ctx.layers
        trains, membranes, weights = saved[:count], saved[count : 2 * count], saved[2 * count :]
        grad_spikes = (grad_rates / len(trains[0])).unsqueeze(0)  # the same at every tick
        grads: list[Tensor] = []
        for inputs, membrane, weight in reversed(list(zip(trains, membranes, weights))):
            grad_drive, grad_bias = torch.empty_like(membrane), torch.zeros(len(weight))
            arrays = (x.numpy() for x in (grad_spikes.contiguous(), membrane, grad_drive, grad_bias))
            kernels.clif_backward(*arrays, *CLIFConstants())
            by_row = factor(grad_drive.flatten(0, 1))
            grads = [product(by_row.t(), inputs.flatten(0, 1)), grad_bias, *grads]
            if inputs is not trains[0]:
                grad_spikes = product(by_row, weight).view_as(inputs)
        # straight-through gradient of encoder spikes: the sum over ticks may come first
        return grad_drive.sum(0) @ weight, None, *grads
