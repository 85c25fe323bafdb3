"""Ensemble of spiking dynamics models: adaptive LIF neurons on several time scales.

Based on saketrohit24/PopSAN-spiking_world_model_dreaming (MIT). Differences: members are stacked parameters
of one module; inputs that are constant over the ticks are multiplied by the weights once; averages over ticks
are taken before the read-out layers; there is no dropout; a termination head is trained; recurrent currents
have no layer normalisation.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiking_wm.neurons.lif import ALIFParameters, alif
from spiking_wm.neurons.stacked import StackedLayerNorm, StackedLinear
from spiking_wm.world_models.options import ModelOptions

_CODE_REACH = 3.0  # tuning curves and population read-out cover +-3 standard deviations


class Prediction(NamedTuple):
    """Prediction of every member, ``[M, B, ...]``; units as in `SpikingWorldModel.forward`."""

    delta: Tensor
    reward: Tensor
    termination_logit: Tensor


class MultiScaleBlock(nn.Module):
    """Parallel populations of recurrent adaptive LIF neurons with time constants from fast to slow.

    Args:
        sizes: see `ModelOptions`.
        slowest: largest initial membrane time constant, in ticks.
    """

    def __init__(self, sizes: ModelOptions, slowest: float = 8.0):
        super().__init__()
        members, groups, width = sizes.members, sizes.scales, sizes.neurons_per_scale
        neurons = groups * width
        self.ticks = sizes.ticks
        self.drive = StackedLinear(members, sizes.hidden, neurons)
        self.norm = StackedLayerNorm(members, neurons)
        tau = torch.linspace(1.5, slowest, groups).repeat_interleave(width).expand(members, -1)
        self.log_membrane_tau = nn.Parameter(tau.log().clone())
        self.log_adaptation_tau = nn.Parameter(torch.full((members, neurons), 10.0).log())
        self.threshold = nn.Parameter(torch.full((members, neurons), 0.5))
        recurrent = torch.empty(members, groups, width, width)
        for matrix in recurrent.flatten(0, 1):
            nn.init.orthogonal_(matrix, gain=0.5)
        self.recurrent = nn.Parameter(recurrent)

    def forward(self, current: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes and membrane readout ``[T, M, B, N]`` for input ``[T or 1, M, B, hidden]``."""
        parameters = ALIFParameters(
            1 - 1 / self.log_membrane_tau.exp().clamp(1.0, 20.0),
            1 - 1 / self.log_adaptation_tau.exp().clamp(5.0, 50.0),
            self.threshold,
            self.recurrent,
        )
        output, _ = alif(self.norm(self.drive(current)), self.ticks, parameters)
        return output.spikes, output.readout


class SpikingWorldModel(nn.Module):
    """Predicts state change, reward and termination with ``M`` independent members.

    Args:
        state_size: number of state values ``S``.
        action_size: number of action values ``A``.
        sizes: see `ModelOptions`.
    """

    centres: Tensor  # of the tuning curves, in standard deviations

    def __init__(self, state_size: int, action_size: int, sizes: ModelOptions = ModelOptions()):
        super().__init__()
        self.sizes = sizes
        members, neurons = sizes.members, sizes.scales * sizes.neurons_per_scale
        inputs, curves = state_size + action_size, sizes.tuning_curves
        self.register_buffer("centres", torch.linspace(-_CODE_REACH, _CODE_REACH, curves))
        self.curve_width = nn.Parameter(torch.full((members, 1, inputs, 1), _CODE_REACH / curves))
        self.embed = StackedLinear(members, inputs * (curves + sizes.linear_input), sizes.hidden)
        self.embed_norm = StackedLayerNorm(members, sizes.hidden)
        self.blocks = nn.ModuleList(MultiScaleBlock(sizes) for _ in range(sizes.blocks))
        self.between = nn.ModuleList(StackedLinear(members, neurons, sizes.hidden) for _ in self.blocks[1:])
        self.between_norm = nn.ModuleList(StackedLayerNorm(members, sizes.hidden) for _ in self.blocks[1:])
        widths = (2 * neurons, *sizes.readout)
        self.readout = nn.ModuleList(StackedLinear(members, i, o) for i, o in zip(widths, widths[1:]))
        self.readout_norm = nn.ModuleList(StackedLayerNorm(members, o) for o in widths[1:])
        self.heads = StackedLinear(members, widths[-1], state_size + 2)
        with torch.no_grad():
            self.heads.weight.mul_(0.1)
            self.heads.bias.zero_()
        if sizes.population_readout:
            self.population = StackedLinear(members, widths[-1], state_size * curves)

    def _features(self, state: Tensor, action: Tensor) -> Tensor:
        """Tuning-curve activity ``[M, B, F]``; actions are scaled to the range of the curves."""
        values = torch.cat([state, action * _CODE_REACH], -1)
        width = self.curve_width.clamp(0.1, 2.0)
        distance = (values[..., None] - self.centres) / width
        activity = torch.exp(-0.5 * distance.square()).flatten(-2)
        if not self.sizes.linear_input:
            return activity
        return torch.cat([activity, values.expand(*activity.shape[:-1], -1)], -1)

    def activity(self, state: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes and membrane readout ``[T, M, B, N]`` of the last block."""
        current = self.embed_norm(self.embed(self._features(state, action)))[None]
        spikes, membrane = self.blocks[0](current)
        for block, between, norm in zip(self.blocks[1:], self.between, self.between_norm):
            current = norm(between(spikes)) + current
            spikes, membrane = block(current)
        return spikes, membrane

    def forward(self, state: Tensor, action: Tensor) -> Prediction:
        """Predict one step.

        Args:
            state: normalised state, ``[B, S]`` (shared by all members) or ``[M, B, S]``.
            action: action in ``[-1, 1]``, ``[B, A]`` or ``[M, B, A]``.

        Returns:
            Change of state ``[M, B, S]`` and reward ``[M, B]``, both in standard deviations of the
            data, and the logit of termination ``[M, B]``.
        """
        spikes, membrane = self.activity(state, action)
        h = torch.cat([spikes.mean(0), membrane.mean(0)], -1)
        for linear, norm in zip(self.readout, self.readout_norm):
            h = F.silu(norm(linear(h)))
        delta, reward, termination = self.heads(h).tensor_split((-2, -1), -1)
        if weight := self.sizes.population_readout:
            curves = self.population(h).unflatten(-1, (-1, self.sizes.tuning_curves)).softmax(-1)
            delta = (1 - weight) * delta + weight * (curves * self.centres).sum(-1)
        return Prediction(delta, reward.squeeze(-1), termination.squeeze(-1))
