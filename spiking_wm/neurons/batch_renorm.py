"""Batch renormalisation (Ioffe 2017, arXiv 1702.03275) for stacked layers, alone or after a ReLU.

There are two implementations: PyTorch (the definition), and fused loops for float32 on the CPU.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiking_wm.neurons import batch_renorm_kernels as kernels
from spiking_wm.neurons.lif import fused
from spiking_wm.neurons.stacked import StackedLinear

_EPSILON = 1e-3  # added to variances
_MOST_FACTOR, _MOST_DRIFT = 3.0, 5.0  # bounds of the corrections r and d
_PLAIN = 2000  # batches without corrections, until the running statistics follow
_RATE = 0.01  # least weight of a batch in the running statistics


class BatchRenorm(nn.Module):
    """Normalise by a batch's statistics, corrected towards running ones, separately for ``M`` members.

    A value ``x`` of a batch with mean ``m`` and deviation ``s`` becomes ``(x - m) / s * r + d``, with the
    corrections ``r = s / running s`` and ``d = (m - running m) / running s``, both bounded and without
    gradients. The learned gains and offsets are applied by the linear layer that follows: see `before`.

    Args:
        members: ``M``.
        size: number of values ``N``.
    """

    mean: Tensor  # running, [M, N]
    variance: Tensor
    batches: Tensor  # number of batches seen

    def __init__(self, members: int, size: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(members, size, 1))
        self.offset = nn.Parameter(torch.zeros(members, 1, size))
        self.register_buffer("mean", torch.zeros(members, size))
        self.register_buffer("variance", torch.ones(members, size))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise a batch ``[M, B, N]``, without gain and offset, and update the running statistics."""
        variance, mean = torch.var_mean(x, 1, correction=0)
        deviation, running = (variance + _EPSILON).sqrt(), (self.variance + _EPSILON).sqrt()
        r, d = torch.ones_like(deviation), torch.zeros_like(mean)
        if self.batches >= _PLAIN:
            r = (deviation.detach() / running).clamp(1 / _MOST_FACTOR, _MOST_FACTOR)
            d = ((mean.detach() - self.mean) / running).clamp(-_MOST_DRIFT, _MOST_DRIFT)
        self.mean.lerp_(mean.detach(), self._rate())
        self.variance.lerp_(variance.detach(), self._rate())
        self.batches += 1
        normalised = (x - mean[:, None]) / deviation[:, None]
        return normalised * r[:, None] + d[:, None]

    def after_relu(self, products: Tensor, bias: Tensor) -> Tensor:
        """`forward` of ``relu(products + bias)``, ``[M, B, N]`` and ``[M, 1, N]``; uses up ``products``."""
        if not fused(products, bias):
            return self(F.relu(products + bias))
        plain, rate = bool(self.batches < _PLAIN), self._rate()
        self.batches += 1
        return _ReluRenorm.apply(products, bias, self.mean, self.variance, plain, rate)

    def _rate(self) -> float:
        """Weight of the next batch: running statistics are plain means at first, so that they fit at once."""
        return max(_RATE, 1 / (float(self.batches) + 1))

    def before(self, layer: StackedLinear) -> tuple[Tensor, Tensor]:
        """Weight ``[M, N, out]`` and bias ``[M, 1, out]`` of a linear layer that take gain and offset in."""
        return self.gain * layer.weight, torch.baddbmm(layer.bias, self.offset, layer.weight)

    def running(self, x: Tensor, member: int) -> Tensor:
        """Values ``[B, N]`` of one member, normalised by the running statistics, which stay as they are."""
        return (x - self.mean[member]) * (self.variance[member] + _EPSILON).rsqrt()


class _ReluRenorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, products: Tensor, bias: Tensor, mean: Tensor, variance: Tensor, plain: bool, rate: float
    ) -> Tensor:
        ctx.mark_dirty(products)
        filled = [torch.empty_like(mean) for _ in range(4)]
        arrays = (x.detach().numpy() for x in (products, bias[:, 0], mean, variance, *filled))
        kernels.relu_renorm_forward(*arrays, plain, rate, _MOST_FACTOR, _MOST_DRIFT, _EPSILON)
        ctx.save_for_backward(products, *filled)
        return products

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, *filled = ctx.saved_tensors
        grad_products, grad_bias = torch.empty_like(y), torch.zeros_like(filled[0])
        arrays = (x.numpy() for x in (grad.contiguous(), y, *filled, grad_products, grad_bias))
        kernels.relu_renorm_backward(*arrays)
        return grad_products, grad_bias[:, None], None, None, None, None
