"""A network with ReLU as one that spikes, by spikingjelly's ann2snn (Tan et al. 2021, for Q-networks)."""

import copy
import io
from contextlib import redirect_stderr
from dataclasses import replace

import torch
from torch import Tensor, nn

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


def scales(network: QNetwork, observation: Tensor, percentile: float) -> list[Tensor]:
    """What a rate of one spike a tick is to stand for in each hidden layer."""
    # loaded where it is used: it takes a second, and 60 MB
    from spikingjelly.activation_based.ann2snn import Converter
    from spikingjelly.activation_based.ann2snn.modules import VoltageScaler
    from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe

    seen = network.enter(observation)[0]
    if network.pictures:
        seen = seen.permute(0, 3, 1, 2)
    recipe = RateCodingRecipe([(seen,)], mode=f"{percentile}%")
    with redirect_stderr(io.StringIO()):  # a progress bar
        converted = Converter(recipe).convert(_units(network))
    scalers = [part for part in converted.modules() if isinstance(part, VoltageScaler)]
    return [after.scale for after in scalers[1::2]]


@torch.no_grad()
def convert(network: QNetwork, observation: Tensor, percentile: float, ticks: int) -> QNetwork:
    """The spiking network that one with ReLU becomes, its weights normalised by data, layer by layer.

    Args:
        network: with ReLU.
        observation: to go by, ``[B, ...]``.
        percentile: of a layer's activity about them that becomes a rate of one spike a tick.
        ticks: spike steps of the converted one.
    """
    spiking, before = copy.deepcopy(network), torch.ones(())
    spiking.sizes = replace(network.sizes, spiking=True, neuron="converted", ticks=ticks)
    for layer, scale in zip(
        (*spiking.convolutions, spiking.hidden), scales(network, observation, percentile)
    ):
        layer.weight *= before / scale
        layer.bias /= scale
        before = scale
    spiking.readout.weight *= before
    return spiking
