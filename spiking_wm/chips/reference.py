"""Reference implementation of `ChipNetwork` in PyTorch, in double precision; chips are tested against it."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spiking_wm.chips.network import ChipNetwork, Layer


def trains_of(network: ChipNetwork, inputs: np.ndarray) -> list[np.ndarray]:
    """Spike trains ``[T, B, N]`` of every layer, from rest.

    Args:
        network: the network. A ``carried`` network runs one decision per entry of the first dimension.
        inputs: spikes, numbers or currents ``[T, B, inputs]``, or ``[1, B, inputs]`` if they are constant.
    """
    ticks = len(inputs) if network.carried else network.ticks
    activity, trains = torch.from_numpy(inputs).double().expand(ticks, -1, -1), []
    for layer in network.layers:
        activity = _fire(layer, _currents(layer, activity))
        trains.append(activity.numpy().astype(np.uint8))
    return trains


def _currents(layer: Layer, activity: Tensor) -> Tensor:
    if layer.weights is None:
        return activity
    weights, bias = torch.from_numpy(layer.weights), torch.from_numpy(layer.bias)
    if not layer.stride:
        return functional.linear(activity, weights, bias)
    pictures = activity.flatten(0, 1).unflatten(-1, layer.shape).permute(0, 3, 1, 2)
    currents = functional.conv2d(pictures, weights, bias, layer.stride).permute(0, 2, 3, 1)
    return currents.flatten(1).unflatten(0, activity.shape[:2])


def _fire(layer: Layer, drive: Tensor) -> Tensor:
    filtered, potential = torch.zeros_like(drive[0]), torch.full_like(drive[0], layer.start)
    spikes, trains = torch.zeros_like(drive[0]), []
    for current in drive:
        if layer.weights is None:
            recurrent = spikes @ torch.from_numpy(layer.recurrent).T
            filtered = layer.current_decay * filtered + recurrent
            potential = layer.membrane_decay * potential + filtered + current
        else:
            filtered = layer.current_decay * filtered + current
            potential = layer.membrane_decay * potential + filtered
        spikes = (potential > layer.threshold).double()
        potential = potential - layer.reset * spikes if layer.reset else potential * (1 - spikes)
        trains.append(spikes)
    return torch.stack(trains)
