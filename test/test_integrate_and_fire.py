"""Integrate-and-fire neurons: fused against tick by tick, scalar loops, and spikingjelly's."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron, surrogate

from spiking_wm.neurons.integrate_and_fire import CONVERTED, IF, LIF, LIF_SOFT, ROUNDED, _by_tick, fire

KINDS = pytest.mark.parametrize(
    "constants",
    [LIF, LIF_SOFT, IF, CONVERTED, ROUNDED],
    ids=["lif", "lif_soft", "if", "converted", "rounded"],
)


def currents(ticks: int = 6, *of_layer: int) -> torch.Tensor:
    shape = of_layer or (7,)
    return torch.randn(ticks, 3, *shape, generator=torch.Generator().manual_seed(0)) + 0.5


@KINDS
def test_fused_is_as_tick_by_tick_and_so_are_its_gradients(constants):
    large = (9, 9, 14)  # of a convolution, more than kernels take at a time
    for ticks, drive in (
        (6, currents()),
        (6, currents(1)),
        (6, currents(6, *large)),
        (6, currents(1, *large)),
    ):
        found = []  # one tick of currents is one that stays
        for run in (fire, _by_tick):
            x = drive.clone().requires_grad_()
            spikes, (potential,) = run(x, ticks, constants)
            (spikes.cumsum(0).sum() + potential.square().sum()).backward()
            found.append((spikes, potential, x.grad))
        for one, two in zip(*found):
            torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
        assert 0 < found[0][0].mean() < 1


@KINDS
def test_is_as_scalar_loops(constants):
    drive = currents()
    spikes, (potential,) = fire(drive, 6, constants)
    for b, n in np.ndindex(3, 7):
        v = constants.start
        for t in range(6):
            v = v + constants.gain * float(drive[t, b, n]) - constants.leak * v
            fired = v >= constants.threshold
            if fired:
                v = v - constants.threshold if constants.soft else 0.0
            assert bool(spikes[t, b, n]) == fired
        assert float(potential[b, n]) == pytest.approx(v, abs=1e-5)


@KINDS
def test_goes_on_from_its_state(constants):
    drive = currents()
    whole, end = fire(drive, 6, constants)
    first, middle = fire(drive[:2], 2, constants)
    second, last = fire(drive[2:], 4, constants, middle)
    assert torch.equal(torch.cat([first, second]), whole)
    torch.testing.assert_close(last.potential, end.potential, rtol=0, atol=1e-6)


def test_refuses_a_drive_of_another_length():
    for drive in (currents(2), currents(2).double()):
        with pytest.raises(ValueError, match="2 ticks; give 6"):
            fire(drive, 6, LIF)


@pytest.mark.parametrize(
    ("constants", "theirs"),
    [
        (LIF, neuron.LIFNode(tau=2.0, decay_input=True, surrogate_function=surrogate.ATan(2.0))),
        (IF, neuron.IFNode(surrogate_function=surrogate.ATan(2.0))),
    ],
    ids=["lif", "if"],
)
def test_is_as_spikingjelly_has_it_with_gradients_through_resets(constants, theirs):
    ours, others = currents().requires_grad_(), currents().requires_grad_()
    spikes, _ = fire(ours, 6, constants)
    spikes.cumsum(0).sum().backward()
    theirs.reset()
    again = torch.stack([theirs(x) for x in others])
    again.cumsum(0).sum().backward()
    assert torch.equal(spikes, again)
    torch.testing.assert_close(ours.grad, others.grad, atol=1e-5, rtol=1e-5)
