"""Networks for values of actions: alive from the start, read out as they should be, and converted."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.ann2snn import Converter
from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe

import spiking_wm_ros.envs  # noqa: F401, registers them
from spiking_wm_ros.agents.registry import settle
from spiking_wm_ros.snn import conversion
from spiking_wm_ros.snn.q_network import QNetwork
from spiking_wm_ros.snn.sizes import QSizes

SMALL = QSizes(channels=(8, 8), kernels=(5, 3), strides=(3, 2), hidden=32)


def network(spiking: bool = True, shape=(30, 30, 2), **sizes) -> QNetwork:
    torch.manual_seed(0)
    return QNetwork(shape, 4, QSizes(**{**SMALL.__dict__, "spiking": spiking, **sizes}))


def pictures(count: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shown = torch.randint(256, (count, 30, 30, 2), generator=generator, dtype=torch.uint8)
    return shown * (torch.rand(count, 30, 30, 1, generator=generator) < 0.2)


def frames_of(env: str, count: int = 40) -> torch.Tensor:
    """What is seen in a game played at random."""
    game = gym.make(env)
    game.action_space.seed(0)
    seen = [game.reset(seed=0)[0]]
    for _ in range(count):
        observation, _, terminated, truncated, _ = game.step(game.action_space.sample())
        seen.append(game.reset()[0] if terminated or truncated else observation)
    return torch.from_numpy(np.stack(seen))


@pytest.mark.parametrize(
    "env", ["atari/Breakout-v0", "atari/Pong-v0", "minatar/Breakout-v0", "minatar/Asterix-v0"]
)
@pytest.mark.parametrize("algorithm", ["dsqn", "dsqn_if", "dsqn_spike"])
def test_every_layer_fires_before_anything_is_learned(algorithm, env):
    seen, options = frames_of(env), settle(algorithm, env, {}).agent_options
    torch.manual_seed(0)
    fresh = QNetwork(tuple(seen.shape[1:]), 3, options.sizes())
    rates = [float(spikes.mean()) for spikes in fresh.activity(seen).spikes]
    assert min(rates) > 0.001, rates
    assert fresh(seen).std(0).max() > 0  # values depend on what is seen
    fresh.wake(seen)  # as before the first update
    assert all(0.02 < float(spikes.mean()) < 0.6 for spikes in fresh.activity(seen).spikes)


def test_as_pytorch_draws_it_it_would_be_silent():
    """The defect of the published code that `wake` is there for."""
    silent = QNetwork((84, 84, 4), 4, settle("dsqn", "atari/Breakout-v0", {}).agent_options.sizes())
    for layer in (*silent.convolutions, silent.hidden, silent.readout):
        layer.reset_parameters()
    spikes = silent.activity(frames_of("atari/Breakout-v0")).spikes
    assert float(spikes[-1].sum()) == 0


def test_has_the_parameters_of_the_published_one():
    whole = QNetwork((84, 84, 4), 4, settle("dsqn", "atari/Breakout-v0", {}).agent_options.sizes())
    assert sum(p.numel() for p in whole.parameters()) == 1_686_180


@pytest.mark.parametrize("ticks", [2, 8, 64])
@pytest.mark.parametrize("kind", ["lif", "if"])
def test_gradients_reach_every_layer(kind, ticks):
    q = network(neuron=kind, ticks=ticks)
    q(pictures()).square().sum().backward()
    for layer in (*q.convolutions, q.hidden, q.readout):
        assert float(layer.weight.grad.abs().max()) > 0


def test_values_are_read_out_of_mean_rates_or_are_rates():
    q, rates = network(), network(spiking_output=True)
    spikes = q.activity(pictures()).spikes[-1]
    torch.testing.assert_close(q(pictures()), q.readout(spikes.mean(0)))
    values = rates(pictures()) * 8
    assert torch.equal(values, values.round()) and 0 <= values.min() < values.max() <= 8


def test_vectors_are_seen_without_convolutions():
    q = network(shape=(6,))
    assert not len(q.convolutions)
    assert q(torch.randn(5, 6)).shape == (5, 4)


def theirs(q: QNetwork, seen: torch.Tensor, ticks: int) -> torch.Tensor:
    """Values by spikingjelly's own converted network, tick by tick, its neurons started as ours are."""
    inputs = (seen.float() / 255).permute(0, 3, 1, 2)
    spiking = Converter(RateCodingRecipe([(inputs,)], mode="99.9%")).convert(conversion._units(q))
    for part in spiking.modules():
        if isinstance(part, neuron.IFNode):
            part.v = 0.5
    with torch.no_grad():
        return torch.stack([spiking(inputs) for _ in range(ticks)]).mean(0)


def test_a_converted_network_spikes_as_spikingjellys_does():
    """Theirs has no potentials read out: the rates alone are compared."""
    q, seen = network(spiking=False), pictures()
    scale = conversion.scales(q, seen, 99.9)
    *layers, _ = conversion.converted_activity(q, scale, seen, 16)
    torch.testing.assert_close(
        q.values(layers[-1].mean(0) * scale[-1]), theirs(q, seen, 16), atol=2e-3, rtol=2e-3
    )


def test_a_converted_network_comes_nearer_with_ticks_and_agrees():
    q, seen = network(spiking=False), pictures(512)
    scale = conversion.scales(q, seen, 99.9)
    values = q(seen).detach()
    errors, agree = [], []
    for ticks in (4, 16, 64):
        found = conversion.converted_activity(q, scale, seen, ticks)[-1]
        errors.append(float((found - values).square().mean()))
        agree.append(float((found.argmax(1) == values.argmax(1)).float().mean()))
    assert errors[0] > errors[1] > errors[2]
    assert agree[2] > 0.9
    spikes = conversion.converted_activity(q, scale, seen, 64)[0]
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
