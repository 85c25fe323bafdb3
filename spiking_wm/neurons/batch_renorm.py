"""Batch renormalisation (Ioffe 2017, arXiv 1702.03275) for stacked layers, alone or after a ReLU.

There are two implementations: PyTorch (the definition), and fused loops for float32 on the CPU.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spiking_wm.neurons import batch_renorm_kernels as kernels
from spiking_wm.neurons.lif import fused
from spiking_wm.neurons.products import factor, product
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
        plain, rate = self.next_batch()
        if not plain:
            r = (deviation.detach() / running).clamp(1 / _MOST_FACTOR, _MOST_FACTOR)
            d = ((mean.detach() - self.mean) / running).clamp(-_MOST_DRIFT, _MOST_DRIFT)
        self.mean.lerp_(mean.detach(), rate)
        self.variance.lerp_(variance.detach(), rate)
        normalised = (x - mean[:, None]) / deviation[:, None]
        return normalised * r[:, None] + d[:, None]

    def next_batch(self) -> tuple[bool, float]:
        """Count a batch; returns whether it is without corrections, and its weight in the running statistics.

        Running statistics are plain means at first, so that they fit at once.
        """
        seen = int(self.batches)
        self.batches += 1
        return seen < _PLAIN, max(_RATE, 1 / (seen + 1))

    def before(self, layer: StackedLinear) -> tuple[Tensor, Tensor]:
        """Weight ``[M, N, out]`` and bias ``[M, 1, out]`` of a linear layer that take gain and offset in."""
        return _taken_in(self.gain, self.offset, layer.weight, layer.bias)

    def running(self, x: Tensor, member: int) -> Tensor:
        """Values ``[B, N]`` of one member, normalised by the running statistics, which stay as they are."""
        return (x - self.mean[member]) * (self.variance[member] + _EPSILON).rsqrt()


def renormalised_layers(x: Tensor, layers: Sequence[StackedLinear], norms: Sequence[BatchRenorm]) -> Tensor:
    """Values ``[M, B]`` of linear layers with a renormalisation before each; between layers, ReLUs.

    Args:
        x: inputs ``[M, B, N]`` that the first of ``norms`` has normalised; they get no gradients.
        layers: the linear layers; the last one has one output.
        norms: as many as layers; all but the first update their running statistics.
    """
    parameters = [
        p for layer, norm in zip(layers, norms) for p in (norm.gain, norm.offset, layer.weight, layer.bias)
    ]
    if fused(x, *parameters):
        return _FusedLayers.apply(x, norms[1:], *parameters)
    for layer, norm, following in zip(layers, norms, norms[1:]):
        weight, bias = norm.before(layer)
        x = following(F.relu(torch.baddbmm(bias, x, weight)))
    weight, bias = norms[-1].before(layers[-1])
    return _dot(x, weight, bias)


def _dot(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    # no matrix product, which could be in bfloat16: that is too coarse for values
    return (x * weight.mT).sum(-1) + bias[..., 0]


class _FusedLayers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, norms: Sequence[BatchRenorm], *parameters: Tensor) -> Tensor:
        inputs, factors, tables = [x], [factor(x)], []
        weight, bias = _taken_in(*parameters[:4])
        for i, norm in enumerate(norms, 1):
            x = product(factors[-1], weight)
            tables.append([torch.empty_like(norm.mean) for _ in range(4)])
            arrays = (t.numpy() for t in (x, bias[:, 0], norm.mean, norm.variance, *tables[-1]))
            kernels.relu_renorm_forward(*arrays, *norm.next_batch(), _MOST_FACTOR, _MOST_DRIFT, _EPSILON)
            inputs.append(x)
            factors.append(factor(x))
            weight, bias = _taken_in(*parameters[4 * i : 4 * i + 4])
        ctx.layers = len(inputs)
        ctx.save_for_backward(*inputs, *factors, *(t for each in tables for t in each), *parameters)
        return _dot(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        saved, count = ctx.saved_tensors, ctx.layers
        inputs, factors, rest = saved[:count], saved[count : 2 * count], saved[2 * count :]
        tables, parameters = rest[: 4 * (count - 1)], rest[4 * (count - 1) :]
        grads: list[Tensor] = []
        grad_y = grad[..., None]
        grad_bias = grad_y.sum(1, keepdim=True)
        for i in reversed(range(count)):
            gain, offset, weight, _ = parameters[4 * i : 4 * i + 4]
            by_output = factor(grad_y)
            grad_weight = product(factors[i].mT, by_output)
            grad_gain = (grad_weight * weight).sum(-1, keepdim=True)
            grad_offset = torch.bmm(grad_bias, weight.mT)
            own = torch.addcmul(offset.mT * grad_bias, gain, grad_weight)
            grads = [grad_gain, grad_offset, own, grad_bias, *grads]
            if i:
                grad_x = product(by_output, (gain * weight).mT)
                grad_y, filled = torch.empty_like(grad_x), torch.zeros_like(tables[0])
                arrays = (t.numpy() for t in (grad_x, inputs[i], *tables[4 * i - 4 : 4 * i], grad_y, filled))
                kernels.relu_renorm_backward(*arrays)
                grad_bias = filled[:, None]
        return None, None, *grads


def _taken_in(gain: Tensor, offset: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    return gain * weight, torch.baddbmm(bias, offset, weight)
