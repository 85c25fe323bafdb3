"""A network with ReLU as one that spikes, by spikingjelly's ann2snn (Tan et al. 2021, for Q-networks)."""

import io
from contextlib import redirect_stderr

import torch
from spikingjelly.activation_based.ann2snn import Converter
from spikingjelly.activation_based.ann2snn.modules import VoltageScaler
from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe
from torch import Tensor, nn

from spiking_wm_ros.snn.integrate_and_fire import CONVERTED, fire
from spiking_wm_ros.snn.q_network import QNetwork


class _ChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


def _units(network: QNetwork) -> nn.Sequential:
    """The same network, as one that can be traced."""
    parts = [part for layer in network.convolutions for part in (layer, nn.ReLU())]
    if network.pictures:
        parts += [_ChannelsLast(), nn.Flatten()]
    return nn.Sequential(*parts, network.hidden, nn.ReLU(), network.readout)


def scales(network: QNetwork, observation: Tensor, percentile: float) -> Tensor:
    """What a rate of one spike a tick stands for in each hidden layer, ``[layers]``.

    Args:
        network: with ReLU.
        observation: to go by, ``[B, ...]``.
        percentile: of a layer's activity about them.
    """
    seen = network.enter(observation)[0]
    if network.pictures:
        seen = seen.permute(0, 3, 1, 2)
    recipe = RateCodingRecipe([(seen,)], mode=f"{percentile}%")
    with redirect_stderr(io.StringIO()):  # a progress bar
        converted = Converter(recipe).convert(_units(network))
    scalers = [part for part in converted.modules() if isinstance(part, VoltageScaler)]
    return torch.stack([after.scale.float() for after in scalers[1::2]])


@torch.no_grad()
def converted_activity(network: QNetwork, scale: Tensor, observation: Tensor, ticks: int) -> list[Tensor]:
    """Spikes ``[T, B, ...]`` of each hidden layer, and the values ``[B, A]`` read out of them.

    The last layer's potentials are read out with its spikes ("robust representation"), so that what has not
    become a spike yet is not lost.
    """
    activity, layers = network.enter(observation), []
    for layer, of_one in zip((*network.convolutions, network.hidden), scale):
        spikes, potential = fire(network.currents(layer, activity) / of_one, ticks, CONVERTED)
        activity = spikes * of_one
        layers.append(spikes)
    came_in = spikes.sum(0) + potential - CONVERTED.start
    return [*layers, network.values((came_in * scale[-1] / ticks).clamp_min(0))]
