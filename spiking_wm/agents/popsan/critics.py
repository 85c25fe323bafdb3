"""Critics: two independent ReLU networks for the value of an action, evaluated as one stacked network."""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiking_wm.neurons.batch_renorm import BatchRenorm, renormalised_layers
from spiking_wm.neurons.stacked import StackedLayerNorm, StackedLinear


class TwinCritic(nn.Module):
    """The critic of TD3 (Fujimoto et al. 2018), without normalisation.

    Args:
        observation_size, action_size: widths of the input.
        hidden: units of each hidden layer.
    """

    has_target = True  # whether targets are computed by a slow copy

    def __init__(self, observation_size: int, action_size: int, hidden: tuple[int, ...]):
        super().__init__()
        widths = (observation_size + action_size, *hidden, 1)
        self.layers = nn.ModuleList(StackedLinear(2, i, o) for i, o in zip(widths, widths[1:]))

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[2, B]`` for ``[B, D]`` and ``[B, A]``."""
        x = torch.cat([observation, action], -1).expand(2, -1, -1)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x), inplace=True)
        return self.layers[-1](x).squeeze(-1)

    def first(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[B]`` of the first network alone."""
        x = torch.cat([observation, action], -1)
        *hidden, last = self._linear()
        for layer in hidden:
            x = F.relu(torch.addmm(layer.bias[0], x, layer.weight[0]), inplace=True)
        return torch.addmm(last.bias[0], x, last.weight[0]).squeeze(-1)

    def _linear(self) -> Iterable[StackedLinear]:
        return cast("Iterable[StackedLinear]", self.layers)


class LayerNormCritic(TwinCritic):
    """The same with layer normalisation before every ReLU, which bounds values of unknown actions."""

    def __init__(self, observation_size: int, action_size: int, hidden: tuple[int, ...]):
        super().__init__(observation_size, action_size, hidden)
        self.norms = nn.ModuleList(StackedLayerNorm(2, size) for size in hidden)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[2, B]`` for ``[B, D]`` and ``[B, A]``."""
        x = torch.cat([observation, action], -1).expand(2, -1, -1)
        for layer, norm in zip(self.layers, self.norms):
            x = F.relu(norm(layer(x)), inplace=True)
        return self.layers[-1](x).squeeze(-1)

    def first(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[B]`` of the first network alone."""
        return self(observation, action)[0]


class BatchRenormCritic(TwinCritic):
    """Batch renormalisation before every layer, and no slow copy (after CrossQ, Bhatt et al. 2024).

    Present and next actions are evaluated as one batch, because their distributions differ: statistics of
    one alone would not fit the other. The actor improves by running statistics, so that actions of one
    batch do not change each other's values.
    """

    has_target = False

    def __init__(self, observation_size: int, action_size: int, hidden: tuple[int, ...]):
        super().__init__(observation_size, action_size, hidden)
        self.input_norm = BatchRenorm(2, observation_size + action_size)
        self.norms = nn.ModuleList(BatchRenorm(2, size) for size in hidden)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[2, B]`` for ``[B, D]`` and ``[B, A]``, by the statistics of this batch."""
        x = self.input_norm(torch.cat([observation, action], -1).expand(2, -1, -1))
        return renormalised_layers(x, [*self._linear()], [self.input_norm, *self._norms()])

    def first(self, observation: Tensor, action: Tensor) -> Tensor:
        """Values ``[B]`` of the first network alone, by running statistics."""
        x = self.input_norm.running(torch.cat([observation, action], -1), 0)
        first, *others = self._linear()
        weight, bias = self.input_norm.before(first)
        for layer, norm in zip(others, self._norms()):
            x = norm.running(F.relu(torch.addmm(bias[0], x, weight[0])), 0)
            weight, bias = norm.before(layer)
        return x @ weight[0, :, 0] + bias[0, 0]

    def _norms(self) -> Iterable[BatchRenorm]:
        return cast("Iterable[BatchRenorm]", self.norms)


CRITICS = {"plain": TwinCritic, "layer_norm": LayerNormCritic, "batch_renorm": BatchRenormCritic}
"""By the option ``critic.kind``."""
