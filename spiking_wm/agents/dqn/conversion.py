"""A network with ReLU as one that spikes, by spikingjelly's ann2snn (Tan et al. 2021, for Q-networks)."""

import copy
import io
from contextlib import redirect_stderr

import torch
from torch import Tensor, nn

from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.neurons.sizes import converted_sizes

_LEAST_SCALE = 0.05  # of the largest in its layer, for channels that were silent


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
    """What a rate of one spike a tick is to stand for in each channel of each hidden layer, ``[C]``."""
    # loaded where it is used: it takes a second, and 60 MB
    from spikingjelly.activation_based.ann2snn import Converter
    from spikingjelly.activation_based.ann2snn.modules import ChannelVoltageScaler

    seen = network.enter(observation)[0]
    if network.pictures:
        seen = seen.permute(0, 3, 1, 2)
    with redirect_stderr(io.StringIO()):  # a progress bar
        converted = Converter(recipe(seen, percentile)).convert(_units(network))
    scalers = [part for part in converted.modules() if isinstance(part, ChannelVoltageScaler)]
    return [after.scale.clamp_min(_LEAST_SCALE * float(after.scale.max())) for after in scalers[1::2]]


def recipe(seen: Tensor, percentile: float):
    """Normalisation by channel, and potentials that begin half way to the threshold."""
    from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe

    mode = "Max" if percentile == 100 else f"{percentile}%"
    return RateCodingRecipe([(seen,)], mode=mode, channel_wise=True, half_threshold=True)


@torch.no_grad()
def convert(network: QNetwork, observation: Tensor, percentile: float, ticks: int) -> QNetwork:
    """The spiking network that one with ReLU becomes, its weights normalised by data, layer by layer.

    Args:
        network: with ReLU.
        observation: to go by, ``[B, ...]``.
        percentile: of a channel's activity about them that becomes a rate of one spike a tick.
        ticks: spike steps of the converted one; where activity is rounded, each layer has as many as levels.
    """
    spiking, before = copy.deepcopy(network), torch.ones(1)
    spiking.sizes = converted_sizes(network.sizes, ticks)
    layers = (*spiking.convolutions, spiking.hidden)
    if network.sizes.levels:  # ceilings are learned, and gone from then on
        ceilings = [layer.log_ceiling.exp() for layer in layers]
        for layer in layers:
            del layer.log_ceiling
    else:
        ceilings = scales(network, observation, percentile)
    for layer, scale in zip(layers, ceilings):
        inputs = layer.weight.shape[1]
        by_input = before.repeat(
            inputs // len(before)
        )  # channels are the last dimension of what is flattened
        around = (1,) * (layer.weight.dim() - 2)
        layer.weight *= by_input.view(1, inputs, *around) / scale.view(-1, 1, *around)
        layer.bias /= scale
        before = scale
    spiking.readout.weight *= before
    return spiking
