"""Conversion of a network without spikes to a spiking one.

A network with ReLU is converted by spikingjelly's ann2snn (Rueckauer et al. 2017; for Q-networks Tan et al.
2021). A network with rounded activity is converted with its learned ceilings (Bu et al. 2022).
"""

import copy
import io
from contextlib import redirect_stderr
from typing import Any

import torch
from torch import Tensor, nn

from spiking_wm.agents.dqn.network import QNetwork, bias_of, ceilings
from spiking_wm.core.extras import missing_extra

_LEAST_SCALE = 0.05  # scale of silent channels, as a share of the largest in their layer


class _ChannelsLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


def plain(network: QNetwork) -> nn.Sequential:
    """The same network with ReLU, of modules that can be traced; pictures are channels first."""
    parts: list[nn.Module] = [part for layer in network.convolutions for part in (layer, nn.ReLU())]
    if network.pictures:
        parts += [_ChannelsLast(), nn.Flatten()]
    return nn.Sequential(*parts, network.hidden, nn.ReLU(), network.readout)


def recipe(observation: Tensor, percentile: float) -> Any:
    """Spikingjelly's conversion: normalised by channel, initial potentials at half the threshold."""
    with missing_extra():
        from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe

    mode = "Max" if percentile == 100 else f"{percentile}%"
    return RateCodingRecipe([(observation,)], mode=mode, channel_wise=True, half_threshold=True)


def scales(network: QNetwork, observation: Tensor, percentile: float) -> list[Tensor]:
    """Activity represented by one spike per time step, for each channel of each hidden layer, ``[C]``.

    Args:
        network: network with ReLU.
        observation: observations ``[B, ...]`` for measuring the activity.
        percentile: percentile of a channel's activity on these observations.

    Raises:
        UserError: if spikingjelly is not installed.
    """
    with missing_extra():  # imported here: it takes a second and 60 MB
        from spikingjelly.activation_based.ann2snn import Converter
        from spikingjelly.activation_based.ann2snn.modules import ChannelVoltageScaler

    seen = network.enter(observation)[0]
    if network.pictures:
        seen = seen.permute(0, 3, 1, 2)
    with redirect_stderr(io.StringIO()):  # a progress bar
        converted = Converter(recipe(seen, percentile)).convert(plain(network))
    scalers = [part for part in converted.modules() if isinstance(part, ChannelVoltageScaler)]
    return [after.scale.clamp_min(_LEAST_SCALE * float(after.scale.max())) for after in scalers[1::2]]


@torch.no_grad()
def convert(network: QNetwork, observation: Tensor, percentile: float, ticks: int) -> QNetwork:
    """Convert a network without spikes to a spiking network.

    Weights are normalised layer by layer, so that a firing rate of one spike per time step represents the
    activity of `scales`, or the ceiling of rounded activity.

    Args:
        network: network without spikes.
        observation: observations ``[B, ...]`` for measuring the activity of ReLU.
        percentile: percentile of a channel's activity that becomes one spike per time step.
        ticks: time steps of the converted network; with rounded activity, each layer has as many as levels.

    Raises:
        UserError: if spikingjelly is not installed, and activity is not rounded.
    """
    spiking, before = copy.deepcopy(network), torch.ones(1)
    spiking.options = network.options.converted(ticks, network.levels)
    spiking.spiking, spiking.levels = True, 0
    layers = spiking.hidden_layers
    if network.levels:
        of_layers = [ceilings(layer) for layer in layers]
        for layer in layers:
            del layer.log_ceiling
    else:
        of_layers = scales(network, observation, percentile)
    for layer, scale in zip(layers, of_layers):
        inputs = layer.weight.shape[1]
        # of pictures that are flattened, channels are the last dimension
        of_inputs = before.repeat(inputs // len(before))
        around = (1,) * (layer.weight.dim() - 2)
        layer.weight *= of_inputs.view(1, inputs, *around) / scale.view(-1, 1, *around)
        bias = bias_of(layer)
        bias /= scale
        before = scale
    spiking.readout.weight *= before
    return spiking
