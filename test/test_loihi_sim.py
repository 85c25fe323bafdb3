"""What Lava's Loihi 2 computes, in processes of its own: the real one, as on a robot."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import NetworkOptions
from spiking_wm.chips.backends.loihi_sim.fixed_point import fixed
from spiking_wm.chips.backends.loihi_sim.simulator import Simulator
from spiking_wm.chips.backends.recorder import InputRecorder
from spiking_wm.chips.network import ChipNetwork, Layer
from spiking_wm.chips.reference import trains_of
from spiking_wm.core.errors import UserError
from test.chips import FLOAT, WHOLE, network_of, observations, on_chip, policy_of, popsan
from test.conftest import ENV

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("hidden", [(48,), (48, 32), (20, 30, 40)])
def test_the_chip_in_floating_point_spikes_as_pytorch_does(hidden):
    net = popsan(hidden=hidden)
    with torch.no_grad():
        want = [train.numpy() for train in net.double().spikes(observations(60).double())]
    network = network_of(net)
    for found in (trains_of(network, want[0]), on_chip(network, FLOAT, want[0])):
        for mine, theirs in zip(found, want[1:], strict=True):
            assert 0.02 < theirs.mean() < 0.7
            np.testing.assert_array_equal(mine, theirs)


def test_networks_that_learned_on_the_grid_are_the_same_in_whole_numbers():
    net = popsan(bits=8)
    with torch.no_grad():
        want = [train.numpy() for train in net.spikes(observations(200))]
        assert all(train.mean() > 0.02 for train in want)
    for mine, theirs in zip(on_chip(network_of(net), WHOLE, want[0]), want[1:], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert [layer.error for layer in fixed(network_of(net), WHOLE)] == [0.0, 0.0, 0.0]


def test_other_networks_are_nearly_the_same_in_whole_numbers_the_more_bits_the_nearer():
    net = popsan()
    with torch.no_grad():
        want = [train.numpy() for train in net.spikes(observations(60))]
    differing = []
    for bits in (8, 4):
        found = on_chip(network_of(net), replace(WHOLE, weight_bits=bits), want[0])
        differing.append(np.mean([(mine != theirs).mean() for mine, theirs in zip(found, want[1:])]))
    assert 0 < differing[0] < 0.03 < differing[1]


@pytest.mark.parametrize(("neuron", "differing"), [("lif", 0.05), ("lif_soft", 0.1), ("if", 0.05)])
def test_convolutions_and_pictures_are_the_same_on_the_chip(neuron, differing):
    torch.manual_seed(0)
    sizes = NetworkOptions(neuron=neuron, channels=(6, 8), kernels=(3, 2), strides=(1, 2), hidden=20, ticks=4)
    net = QNetwork((8, 7, 3), 4, sizes)
    pictures = torch.randint(0, 2, (12, 8, 7, 3), dtype=torch.uint8) * 255
    want = [spikes.flatten(2).numpy() for spikes in net.activity(pictures).spikes]
    network = ChipNetwork(net.chip_layers(), 4, reach=255.0)
    inputs = pictures.reshape(1, 12, -1).numpy().astype(float)
    whole = on_chip(network, WHOLE, inputs)
    for k, mine in enumerate(on_chip(network, FLOAT, inputs)):
        np.testing.assert_array_equal(mine, want[k])
        assert 0.02 < want[k].mean() < 0.8
        assert (whole[k] != want[k]).mean() < differing


def test_recurrent_networks_remember_each_course_of_events_apart():
    policy, env = policy_of("rsnn", ENV, neurons=60)
    recorder, courses, own = InputRecorder(), [], []
    policy.network_runner = recorder
    for seed in range(2):
        state, spikes = policy.initial_state(), []
        env.action_space.seed(seed)
        observation, _ = env.reset(seed=seed)
        for _ in range(25):
            _, state = policy.act(observation.astype(np.float32), state, None)
            spikes.append(state.spikes[0].copy())
            observation = env.step(env.action_space.sample())[0]
        courses.append(recorder.inputs[-25:])
        own.append(np.stack(spikes))
    assert all(0.01 < spikes.mean() < 0.5 for spikes in own)
    chip = Simulator(policy.chip_network(), FLOAT)
    found = [[], []]
    for k in [*range(10), *range(5, 15)]:  # each goes on where it was
        for course in (0, 1):
            if k >= len(found[course]):
                found[course].append(chip.run(courses[course][k], course, k == 0)[0][0])
    again = [chip.run(x, 2, k == 0)[0][0] for k, x in enumerate(courses[0])]
    chip.close()
    for mine, theirs in ((found[0], own[0]), (found[1], own[1]), (again, own[0])):
        np.testing.assert_array_equal(np.stack(mine), theirs[: len(mine)])


def scalar_layer(layer: Layer, inputs: np.ndarray) -> list[list[int]]:
    """One layer, neuron by neuron, as its definition says."""
    u, v, trains = [0.0] * layer.neurons, [layer.start] * layer.neurons, []
    for sent in inputs:
        trains.append([])
        for n in range(layer.neurons):
            u[n] = (
                layer.current_decay * u[n]
                + sum(w * s for w, s in zip(layer.weights[n], sent))
                + layer.bias[n]
            )
            v[n] = layer.membrane_decay * v[n] + u[n]
            trains[-1].append(int(v[n] > layer.threshold))
            if trains[-1][n]:
                v[n] = v[n] - layer.reset if layer.reset else 0.0
    return trains


@pytest.mark.parametrize(("start", "reset"), [(0.0, 0.0), (0.25, 0.5)])
def test_the_reference_is_what_the_definition_says(start, reset):
    rng = np.random.default_rng(0)
    weights, bias = rng.integers(-8, 9, (4, 6)) / 8, rng.integers(-4, 5, 4) / 8
    layer = Layer(weights, bias, 0.5, 0.75, 0.5, start=start, reset=reset)
    inputs = rng.integers(0, 2, (7, 6)).astype(float)
    (found,) = trains_of(ChipNetwork((layer,), 7), inputs[:, None])
    assert found[:, 0].tolist() == scalar_layer(layer, inputs)


@given(
    scale=st.floats(1e-3, 8.0),
    bits=st.integers(2, 8),
    current=st.sampled_from([0.0, 0.5]),
    bias=st.booleans(),
)
def test_whole_numbers_stay_within_what_the_chip_has(scale, bits, current, bias):
    rng = np.random.default_rng(bits)
    layer = Layer(scale * rng.normal(size=(9, 30)), bias * scale * rng.normal(size=9), current, 0.75, 0.5)
    try:
        (whole,) = fixed(ChipNetwork((layer,), 5), replace(WHOLE, weight_bits=bits))
    except UserError as error:
        assert "precision:=floating_pt" in str(error)
        return
    step = 2 ** (9 - bits)
    assert (whole.weights % step == 0).all() and np.abs(whole.weights).max() <= 256 - step
    assert 0 < whole.threshold < 2**17 and np.abs(whole.bias).max() <= 4095 and whole.bias_exponent <= 7
    assert whole.current_decay == (4095 if current == 0 else 2047) and whole.membrane_decay == 1024
    per_tick = (
        np.maximum(whole.weights.clip(0).sum(1), -whole.weights.clip(None, 0).sum(1)) * 2.0**whole.exponent
    )
    assert (per_tick / (1 - current)).max() < 2**17 * 1.01 + 256 * 30
    held = whole.weights * 2.0**whole.exponent / whole.scale
    np.testing.assert_allclose(
        held[:, :30], layer.weights, atol=0.51 * step * 2.0**whole.exponent / whole.scale
    )


def test_potentials_that_are_too_large_are_counted():
    layer = Layer(np.full((2, 1), -1.0), np.zeros(2), 0.5, 0.99, 0.5)
    network = ChipNetwork((layer,), 40)
    counted = []
    for options in (FLOAT, WHOLE):
        chip = Simulator(network, options)
        chip.run(np.zeros((40, 1)))
        assert chip.saturated() == [0]
        chip.run(np.ones((40, 1)))  # falls and falls
        counted += chip.saturated()
        chip.close()
    assert counted[0] == 0 < counted[1]
