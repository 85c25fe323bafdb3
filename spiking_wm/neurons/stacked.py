"""Layers with parameters stacked over the members of an ensemble, computed as one product."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StackedLinear(nn.Module):
    """``M`` independent linear maps: ``[..., M, B, in]`` to ``[..., M, B, out]``.

    Every member is initialised like `torch.nn.Linear`.
    """

    def __init__(self, members: int, inputs: int, outputs: int):
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Apply each member's map to its own slice of ``x``."""
        if x.ndim == 3:
            return torch.baddbmm(self.bias, x, self.weight)
        ticks, members, batch, inputs = x.shape
        rows = x.transpose(0, 1).reshape(members, ticks * batch, inputs)
        return torch.baddbmm(self.bias, rows, self.weight).view(members, ticks, batch, -1).transpose(0, 1)


class StackedLayerNorm(nn.Module):
    """LayerNorm over the last dimension with a gain and an offset per member."""

    def __init__(self, members: int, size: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(members, 1, size))
        self.offset = nn.Parameter(torch.zeros(members, 1, size))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise ``[..., M, B, N]``."""
        return torch.addcmul(self.offset, F.layer_norm(x, x.shape[-1:]), self.gain)
