"""Spikes with surrogate gradients: the Heaviside step forward, a smooth slope backward."""

import math
from typing import Any

import torch
from torch import Tensor


class _Step(torch.autograd.Function):
    """1 where ``x >= 0``; subclasses define the slope in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *constants: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.constants = constants
        return (x >= 0).to(x.dtype)


class _Rectangle(_Step):
    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < ctx.constants[0]), None


class _SuperSpike(_Step):
    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad / (1 + ctx.constants[0] * x.abs()).square(), None


class _ArcTangent(_Step):
    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return grad / (1 + (math.pi * x).square())


def rectangle(x: Tensor, half_width: float = 0.5) -> Tensor:
    """Spikes where ``x >= 0``; the slope is 1 where ``|x| < half_width``, else 0 (Wu et al. 2018)."""
    return _Rectangle.apply(x, half_width)


def superspike(x: Tensor, sharpness: float) -> Tensor:
    """Spikes where ``x >= 0``; the slope is ``1 / (1 + sharpness |x|)^2`` (Zenke & Ganguli 2018)."""
    return _SuperSpike.apply(x, sharpness)


def arc_tangent(x: Tensor) -> Tensor:
    """Spikes where ``x >= 0``; the slope is ``1 / (1 + (pi x)^2)`` (Fang et al. 2021)."""
    return _ArcTangent.apply(x)
