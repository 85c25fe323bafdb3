"""Neurons of one to three compartments: scalar equations, gradients, fused evaluation."""

import math

import pytest
import torch

from spiking_wm.neurons import probe
from spiking_wm.neurons.compartments import (
    KINDS,
    TAU,
    THRESHOLD,
    AdaptiveLIF,
    IntegrateAndFire,
    TwoCompartments,
    spike,
)


def scalar(kind: str, currents: list, coupling: tuple[float, float]) -> list[tuple]:
    """One neuron, with nothing but numbers: spikes and compartments after every tick."""
    course, b, a, u, d, rise = [], 0.0, 0.0, 0.0, 0.0, 0.0
    for x in currents:
        if kind == "lif":
            u += (x[0] - u) / TAU
            s = u > THRESHOLD
            u = 0.0 if s else u
            course.append((s, u))
        elif kind == "adaptive_lif":
            u += (x[0] - u) / TAU
            s = u > THRESHOLD + rise
            u = 0.0 if s else u
            rise = (1 - 1 / AdaptiveLIF.adaptation) * rise + AdaptiveLIF.step * s
            course.append((s, u, rise))
        elif kind == "two_compartments":
            fired = u > THRESHOLD
            d += coupling[0] * u + x[0] - TwoCompartments.reset * fired
            u += coupling[1] * d - THRESHOLD * fired
            course.append((u > THRESHOLD, d, u))
        else:
            b += (x[0] - b) / TAU
            a += (x[1] - a) / TAU
            gate = 1 / (1 + math.exp(-a))
            if kind != "mcn_paper":
                u += gate * ((b - u + x[2]) - u) / TAU
            else:
                u += (-u + gate * (b - u + x[2])) / TAU
            s = u > THRESHOLD
            if kind == "mcn_soft":
                u -= THRESHOLD * s
            elif s:
                b, a, u = 0.0, 0.0, 0.0
            course.append((s, b, a, u))
    return course


def made(kind: str, neurons: int = 3):
    torch.manual_seed(1)
    cell = KINDS[kind](neurons)
    for parameter in cell.parameters():
        torch.nn.init.normal_(parameter)
    return cell


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_neurons_are_the_scalar_equations(kind, dtype):
    cell = made(kind)
    drive = (torch.randn(30, 2, cell.ports * 3, dtype=dtype) + 0.7) * 1.5
    state, spikes, states = cell.at_rest(2, like=drive), [], []
    for current in drive:
        fired, state = cell(current[None], state)
        spikes.append(fired[0]), states.append(state)
    assert 0.05 < torch.stack(spikes).mean() < 0.95
    at_once, after = cell(drive, cell.at_rest(2, like=drive))
    assert torch.equal(at_once, torch.stack(spikes)) and torch.equal(after, state)
    coupling = cell.parameters_by_neuron()
    for b in range(2):
        for n in range(3):
            currents = drive[:, b, n::3].tolist()
            expected = scalar(kind, currents, tuple(coupling[:, n].tolist()))
            assert [row[0] for row in expected] == [bool(s[b, n]) for s in spikes]
            for row, got in zip(expected, states):
                assert row[1:] == pytest.approx(got[:, b, n].tolist(), abs=2e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_fused_gradients_are_those_of_the_definition(kind):
    cell, outcomes = made(kind, 5), []
    drive = (torch.randn(12, 4, cell.ports * 5) + 0.7) * 1.5
    start = torch.randn(cell.compartments, 4, 5) * 0.3
    weights = torch.randn(12, 4, 5), torch.randn(cell.compartments, 4, 5)
    for dtype in (torch.float32, torch.float64):  # the latter is never fused
        cell.zero_grad()
        inputs = [x.to(dtype).detach().requires_grad_() for x in (drive, start)]
        spikes, after = cell(*inputs)
        ((spikes * weights[0]).sum() + (after * weights[1]).sum()).backward()
        outcomes.append([spikes, after, *(x.grad for x in inputs), *(p.grad for p in cell.parameters())])
    for mine, defined in zip(*outcomes):
        assert torch.allclose(mine.double(), defined.double(), atol=2e-3, rtol=1e-3)
        assert defined.abs().sum() > 0


def test_the_surrogate_gradient_is_a_triangle():
    above = torch.tensor([-0.6, -0.25, 0.0, 0.25, 0.6], requires_grad=True)
    spike(above).sum().backward()
    assert above.grad.tolist() == [0, 1, 2, 1, 0]


def test_a_closed_gate_keeps_the_soma_where_its_leak_is_gated():
    for kind, kept in (("mcn", True), ("mcn_paper", False)):
        cell = KINDS[kind](1)
        state = torch.tensor([0.0, -60.0, 0.4])[:, None, None]
        closed = torch.tensor([0.0, -60.0, 0.0]).expand(5, 1, 3)
        _, after = cell(closed, state)
        assert (abs(float(after[2]) - 0.4) < 1e-5) == kept


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_drive_of_one_tick_is_one_that_stays(kind, dtype):
    cell, outcomes = made(kind), []
    drive = (torch.randn(1, 4, cell.ports * 3, dtype=dtype) + 0.7) * 1.5
    weights = torch.randn(7, 4, 3, dtype=dtype)
    for ticks, repeats in ((7, 1), (None, 7)):
        stays = drive.clone().requires_grad_()
        spikes, after = cell(stays.expand(repeats, -1, -1), cell.at_rest(4, like=drive), ticks)
        (spikes * weights).sum().backward()
        outcomes.append((spikes, after, stays.grad))
    for one, other in zip(*outcomes):
        assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("ticks", [1, 4, 7])
def test_rates_of_lif_neurons_are_the_mean_of_their_spikes(ticks):
    """And their gradient is that of the definition, where ticks do not go through memory."""
    drive, weights, cell = (torch.randn(1, 6, 20, 5) + 0.7) * 1.5, torch.randn(1, 6, 20, 5), made("lif", 5)
    outcomes = []
    for dtype in (torch.float32, torch.float64):  # the latter is never fused
        stays = drive.clone().to(dtype).requires_grad_()
        rates = cell.from_rest(stays, ticks, averaged=True)
        (rates * weights).sum().backward()
        outcomes.append((rates.detach(), stays.grad))
    (rates, slopes), (expected, defined) = outcomes
    assert torch.allclose(rates.double(), expected, atol=1e-6) and 0 < expected.mean() < 1
    assert torch.allclose(slopes.double(), defined, atol=1e-5) and defined.abs().sum() > 0
    with probe.listen() as heard:  # spikes are shown to who listens
        assert torch.allclose(cell.from_rest(drive, ticks, averaged=True), rates)
    assert heard[0].shape == (ticks, 20 * 5) and heard[0].mean(0) == pytest.approx(rates[0, 0].flatten())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_compartment(kind):
    cell = made(kind)
    start = cell.at_rest(4).requires_grad_()
    drive = (torch.randn(6, 4, cell.ports * 3) + 0.7).requires_grad_()
    cell(drive, start)[0].sum().backward()
    by_port = drive.grad.unflatten(-1, (cell.ports, 3))
    assert (by_port.abs().sum((0, 1, 3)) > 0).all()
    assert (start.grad.abs().sum((1, 2)) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_without_leak_round_what_stays(dtype):
    """Scalar loop, rates and gradients."""
    cell, ticks = IntegrateAndFire(7), 8
    drive = torch.tensor([[-0.3, 0.0, 0.1, 0.26, 0.7, 1.0, 1.6]], dtype=dtype).requires_grad_()
    spikes, after = cell(drive[None], cell.at_rest(1, like=drive), ticks)
    for n, x in enumerate(drive[0].tolist()):
        u, train = 0.5, []
        for _ in range(ticks):
            u += x
            train.append(float(u >= 1))
            u -= train[-1]
        assert spikes[:, 0, n].tolist() == train
        assert float(after.detach()[0, 0, n]) == pytest.approx(u, abs=1e-5)
    assert spikes.mean(0)[0].tolist() == [0, 0, 1 / 8, 2 / 8, 6 / 8, 1, 1]  # of 8 x, the nearest
    rates = cell.from_rest(drive[None], ticks, averaged=True)
    assert torch.equal(rates[0], spikes.mean(0))
    assert torch.equal(cell.from_rest(drive[None], ticks, averaged=False), spikes)
    assert torch.autograd.grad(rates.sum(), drive)[0][0].tolist() == [0, 0, 1, 1, 1, 0, 0]
    weights = torch.arange(8.0, dtype=dtype)[:, None, None]
    (spikes * weights).sum().backward()
    assert drive.grad[0].tolist() == [0, 0, 28, 28, 28, 0, 0]
