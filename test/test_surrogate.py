"""Surrogate gradients: against the derivative of the function they stand for, and against spikingjelly's."""

import math

import pytest
import torch
from torch import Tensor

from spiking_wm.neurons import surrogate

SHARPNESS = 10.0


def ramp(x: Tensor) -> Tensor:
    return x.clamp(-0.5, 0.5)


def fast_sigmoid(x: Tensor) -> Tensor:
    return x / (1 + SHARPNESS * x.abs())


def arc_tangent(x: Tensor) -> Tensor:
    return torch.atan(math.pi * x) / math.pi


# the spike, and the smooth function whose derivative is its gradient
PAIRS = pytest.mark.parametrize(
    ("spike", "smooth"),
    [
        (surrogate.rectangle, ramp),
        (lambda x: surrogate.superspike(x, SHARPNESS), fast_sigmoid),
        (surrogate.arc_tangent, arc_tangent),
    ],
    ids=["rectangle", "superspike", "arc_tangent"],
)


def potentials(dtype: torch.dtype) -> Tensor:
    """Distances to the threshold, the threshold itself and the edges of the rectangle among them."""
    return torch.cat([torch.linspace(-2, 2, 401), torch.tensor([0.0, -0.0])]).to(dtype)


def gradient(function, x: Tensor, weights: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad((function(x) * weights).sum(), x)
    return found


@PAIRS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_spikes_at_and_above_the_threshold_and_keeps_the_type(spike, smooth, dtype):
    x = potentials(dtype)
    assert spike(x).dtype == dtype
    assert torch.equal(spike(x), (x >= 0).to(dtype))


@PAIRS
def test_the_gradient_is_the_derivative_of_the_smooth_function(spike, smooth):
    x = potentials(torch.float64)
    x = x[(x.abs() - 0.5).abs() > 1e-9]  # the ramp has no derivative at its ends
    weights = torch.linspace(-1, 3, len(x), dtype=torch.float64)
    torch.testing.assert_close(gradient(spike, x, weights), gradient(smooth, x, weights), rtol=1e-9, atol=0)


def test_the_rectangle_is_open_and_as_wide_as_asked():
    x = torch.tensor([-0.5, -0.25, 0.0, 0.25, 0.5])
    assert gradient(surrogate.rectangle, x, torch.ones(5)).tolist() == [0, 1, 1, 1, 0]
    assert gradient(lambda y: surrogate.rectangle(y, 0.25), x, torch.ones(5)).tolist() == [0, 0, 1, 0, 0]


def test_is_as_spikingjelly_has_it():
    theirs = pytest.importorskip("spikingjelly.activation_based.surrogate")
    x = potentials(torch.float32)
    x = x[(x.abs() - 0.5).abs() > 1e-6]
    weights = torch.linspace(-1, 3, len(x))
    for ours, other in (
        (surrogate.rectangle, theirs.Rect(alpha=1.0)),
        (
            lambda y: surrogate.superspike(y, SHARPNESS),
            lambda y: theirs.SuperSpike(alpha=1 / SHARPNESS)(SHARPNESS * y),
        ),
        (surrogate.arc_tangent, theirs.ATan(alpha=2.0)),
    ):
        torch.testing.assert_close(gradient(ours, x, weights), gradient(other, x, weights))
        assert torch.equal(ours(x), other(x))
