"""Neurons against their equations, worked out by hand, and the fused kernels against PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spiking_wm.agents.popsan.network import EventDrivenPopSAN, PopSAN
from spiking_wm.agents.popsan.options import ActorOptions
from spiking_wm.neurons.clif_layers import Synapses, firing_rates, spike_trains
from spiking_wm.neurons.coding import GaussianPopulation, PopulationDecoder, regular_spikes
from spiking_wm.neurons.lif import (
    ALIFConstants,
    ALIFParameters,
    _alif_by_tick,
    alif,
    clif,
)


def test_clif_follows_its_equations_by_hand():
    # c: 0.4, 0.4·0.5+0.4=0.6, 0.7;  v: 0.4, 0.3+0.6=0.9 (spike), reset: 0+0.7=0.7 (spike)
    spikes, state = clif(torch.full((3, 1), 0.4), 3)
    assert spikes.flatten().tolist() == [0, 1, 1]
    assert state.current.item() == pytest.approx(0.7)
    assert state.membrane.item() == pytest.approx(0.7)


def test_clif_fires_above_its_threshold_not_at_it():
    drive = torch.full((1, 1), 0.5)
    assert clif(drive, 1)[0].item() == 0
    assert clif(drive.double(), 1)[0].item() == 0
    assert clif(torch.nextafter(drive, torch.tensor(1.0)), 1)[0].item() == 1


@given(
    ticks=st.integers(1, 6),
    batch=st.integers(1, 5),
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=4),
)
def test_fused_layers_equal_layer_by_layer(ticks, batch, widths):
    generator = torch.Generator().manual_seed(sum(widths))
    shapes = [shape for i, o in zip(widths, widths[1:]) for shape in ((o, i), (o,))]
    # few binary digits: sums are exact in any order, so no spike hangs on rounding
    parameters = [
        ((4 * torch.randn(shape, generator=generator)).round() / 8).requires_grad_() for shape in shapes
    ]
    layers = [Synapses(*pair) for pair in zip(parameters[::2], parameters[1::2])]
    activity = torch.rand(batch, widths[0], generator=generator).requires_grad_()
    weights = torch.randn(batch, widths[-1], generator=generator)
    rates = [firing_rates(activity, ticks, layers), spike_trains(activity, ticks, layers)[-1].mean(0)]
    fused, plain = (torch.autograd.grad((r * weights).sum(), [activity, *parameters]) for r in rates)
    torch.testing.assert_close(*rates, rtol=0, atol=1e-6)
    for one, other in zip(fused, plain):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(firing_rates(activity, ticks, layers), rates[0])


def test_clif_goes_on_from_its_state():
    drive = torch.randn(6, 3, 40)
    whole, end = clif(drive, 6)
    first, middle = clif(drive[:2], 2)
    second, last = clif(drive[2:], 4, state=middle)
    assert torch.equal(torch.cat([first, second]), whole)
    assert all(map(torch.equal, last, end))


def test_clif_takes_one_tick_for_a_constant_drive_and_refuses_another_length():
    drive = torch.randn(1, 3, 40)
    for one, many in zip(clif(drive, 4), clif(drive.expand(4, -1, -1), 4)):
        torch.testing.assert_close(one, many, rtol=0, atol=0)
    with pytest.raises(ValueError, match="2 ticks; give 4"):
        clif(torch.zeros(2, 1), 4)


def parameters(members=2, neurons=6, groups=2, recurrent=0.3):
    width = neurons // groups
    return ALIFParameters(
        torch.rand(members, neurons),
        0.5 + 0.5 * torch.rand(members, neurons),
        0.3 * torch.rand(members, neurons),
        recurrent * torch.randn(members, groups, width, width),
    )


def test_alif_follows_its_equations_by_hand():
    one = torch.ones(1, 1)
    p = ALIFParameters(0.5 * one, 0.9 * one, 0.5 * one, 2 * torch.ones(1, 1, 1, 1))
    # tick 0: I=1, v=0.5, 0.5>=0.5 spike, v=0, a=0.1, readout 0+0.1
    # tick 1: I=1+2=3, v=1.5>=0.6 spike, v=0, a=0.19, readout 0.3
    # tick 2: as tick 1; readout 0.3
    (spikes, readout), state = alif(torch.ones(1, 1, 1, 1), 3, p)
    assert spikes.flatten().tolist() == [1, 1, 1]
    assert readout.flatten().tolist() == pytest.approx([0.1, 0.3, 0.3])
    assert [x.item() for x in state] == pytest.approx([0, 0.1 * (0.81 + 0.9 + 1), 1])
    # without recurrence: tick 1: v=0.5 < 0.6: none, readout 0.5+0.1
    (spikes, readout), _ = alif(torch.ones(1, 1, 1, 1), 2, p._replace(recurrent=torch.zeros(1, 1, 1, 1)))
    assert spikes.flatten().tolist() == [1, 0]
    assert readout.flatten().tolist() == pytest.approx([0.1, 0.6])


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("ticks", [1, 4])
def test_fused_alif_equals_tick_by_tick(constant, ticks):
    torch.manual_seed(1)
    drive = torch.randn(1 if constant else ticks, 2, 5, 6).requires_grad_()
    p = ALIFParameters(*(x.requires_grad_() for x in parameters()))
    gradients = []
    both = alif(drive, ticks, p), _alif_by_tick(drive, ticks, p, ALIFConstants())
    fused, plain = ((*output, *state) for output, state in both)  # states have gradients too
    for outputs in (fused, plain):
        loss = sum((x * torch.arange(x.numel()).view_as(x).cos()).sum() for x in outputs)
        gradients.append(torch.autograd.grad(loss, [drive, *p], allow_unused=True))
    for a, b in zip(fused, plain):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, torch.zeros_like(a) if b is None else b, rtol=1e-4, atol=1e-4)


def test_alif_goes_on_from_its_state():
    torch.manual_seed(3)
    drive, p = torch.randn(5, 2, 3, 6), parameters()
    whole, end = alif(drive, 5, p)
    first, middle = alif(drive[:2], 2, p)
    second, last = alif(drive[2:], 3, p, state=middle)
    for one, two, all_of_them in zip(first, second, whole):
        torch.testing.assert_close(torch.cat([one, two]), all_of_them, rtol=0, atol=1e-6)
    for one, other in zip(last, end):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert 0 < whole.spikes.mean() < 1
    assert not torch.equal(alif(drive[2:], 3, p)[0].spikes, second.spikes)  # rest is another state


def test_alif_refuses_a_drive_of_other_length():
    with pytest.raises(ValueError, match="2 ticks; give 4"):
        alif(torch.zeros(2, 2, 1, 6), 4, parameters())


def test_regular_spikes_count_the_integrated_activity():
    # 0.6·5 = 3.0: crossings of 0.999 at 1.2, 1.8+… -> after soft resets 3 spikes in 5 ticks
    assert regular_spikes(torch.tensor([0.0, 0.3, 0.6, 1.0]), 5).sum(0).tolist() == [0, 1, 3, 5]
    double = regular_spikes(torch.tensor([0.0, 0.3, 0.6, 1.0]).double(), 5).sum(0).tolist()
    assert double == [0, 1, 3, 5]


def test_regular_spikes_pass_gradients_straight_through():
    activity = torch.rand(7, requires_grad=True)
    regular_spikes(activity, 5).sum().backward()
    assert activity.grad.tolist() == [5.0] * 7


def test_population_code_and_decoder_by_hand():
    population = GaussianPopulation(dimensions=1, size=3, reach=1.0, deviation=0.5)
    expected = np.exp(-0.5 * (np.array([1.0, 0.0, -1.0]) / 0.5) ** 2)
    assert population(torch.tensor([[0.0]]))[0].tolist() == pytest.approx(expected.tolist())
    decoder = PopulationDecoder(2, 2)
    with torch.no_grad():
        decoder.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        decoder.bias.copy_(torch.tensor([0.5, 0.0]))
    assert decoder(torch.tensor([1.0, 0.5, 0.0, 1.0])).tolist() == [2.5, 4.0]


@pytest.mark.parametrize("hidden", [(64, 64), (256, 256)])
def test_actor_fires_in_every_layer_at_the_start_and_every_parameter_learns(hidden):
    torch.manual_seed(0)
    actor = PopSAN(17, 6, ActorOptions(hidden=hidden))
    observation = torch.randn(256, 17)
    for train in actor.spikes(observation):
        assert 0.01 < train.mean() < 0.5
    actor(observation).square().sum().backward()
    for name, parameter in actor.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_actor_has_the_published_size():
    assert sum(p.numel() for p in PopSAN(17, 6).parameters()) == 125_394  # HalfCheetah


def test_event_driven_actor_spikes_and_acts_as_the_batched_one():
    torch.manual_seed(2)
    actor = PopSAN(17, 6)
    single = EventDrivenPopSAN(actor.state_dict(), actor.sizes.widths(17, 6), actor.sizes)
    observations = 2 * torch.randn(200, 17)
    with torch.no_grad():
        actions, trains = actor(observations).numpy(), actor.spikes(observations)
    for i, observation in enumerate(observations.numpy()):
        spikes = single.spikes(single.encode(observation))
        np.testing.assert_allclose(np.tanh(single.decode(spikes[-1])), actions[i], atol=1e-5)
        for mine, theirs in zip(spikes, trains):
            np.testing.assert_array_equal(mine, theirs[:, i].numpy())
