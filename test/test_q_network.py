"""Networks for values of actions: alive from the start, read out as they should be, and converted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import base
from spikingjelly.activation_based.ann2snn import Converter

from spiking_wm.agents.dqn import conversion
from spiking_wm.agents.dqn import network as q_network
from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import NetworkOptions, Options
from spiking_wm.core.presets import resolve
from spiking_wm.envs.make import make_env
from spiking_wm.training.session import Session

SMALL = NetworkOptions(ticks=8, channels=(8, 8), kernels=(5, 3), strides=(3, 2), hidden=32)


def network(spiking: bool = True, shape=(30, 30, 2), levels: int = 0, **options) -> QNetwork:
    torch.manual_seed(0)
    return QNetwork(shape, 4, replace(SMALL, **options), spiking, levels)


def published(shape: tuple[int, ...], algorithm: str = "dsqn", env: str = "atari/Breakout-v0") -> QNetwork:
    options: Options = resolve(algorithm, env, {}).agent_options
    return QNetwork(shape, 4, options.network, options.spiking, options.levels(shape))


def pictures(count: int = 64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    shown = torch.randint(256, (count, 30, 30, 2), generator=generator, dtype=torch.uint8)
    return shown * (torch.rand(count, 30, 30, 1, generator=generator) < 0.2)


def frames_of(env: str, count: int = 40) -> torch.Tensor:
    """What is seen in a game played at random."""
    game = make_env(env)
    game.action_space.seed(0)
    seen = [game.reset(seed=0)[0]]
    for _ in range(count):
        observation, _, terminated, truncated, _ = game.step(game.action_space.sample())
        seen.append(game.reset()[0] if terminated or truncated else observation)
    return torch.from_numpy(np.stack(seen))


@pytest.mark.parametrize("env, levels", [("minatar/Breakout-v0", 32), ("CartPole-v1", 64)])
def test_rounded_layers_share_the_ticks_of_what_they_convert_to(env, levels):
    """Vectors have no convolutions, so the one layer has them all."""
    shape = Session(env, 0, 1).spaces.observation.shape
    options = resolve("converted_sqn", env, {}).agent_options
    assert options.levels(shape) == options.converted_network(shape).ticks == levels


@pytest.mark.parametrize(
    "env", ["atari/Breakout-v0", "atari/Pong-v0", "minatar/Breakout-v0", "minatar/Asterix-v0"]
)
@pytest.mark.parametrize("algorithm", ["dsqn", "dsqn_if", "dsqn_spike"])
def test_every_layer_fires_before_anything_is_learned(algorithm, env):
    seen = frames_of(env)
    torch.manual_seed(0)
    fresh = published(tuple(seen.shape[1:]), algorithm, env)
    rates = [float(spikes.mean()) for spikes in fresh.activity(seen).spikes]
    assert min(rates) > 0.001, rates
    assert fresh(seen).std(0).max() > 0  # values depend on what is seen
    fresh.init_from_data(seen)  # as before the first update
    rates = [float(spikes.mean()) for spikes in fresh.activity(seen).spikes]
    assert min(rates) > 0.005 and max(rates) < 0.6, rates  # small weights fire little, but all layers do


def test_currents_deviate_as_asked_for():
    seen, spreads = frames_of("minatar/Asterix-v0"), []
    for gain in (0.2, 2.0):
        q = network(shape=tuple(seen.shape[1:]), init_gain=gain, kernels=(3, 3), strides=(1, 1))
        q.init_from_data(seen)
        spreads.append(float(q.currents(q.convolutions[0], q.enter(seen)).std()))
    assert spreads == pytest.approx([0.2, 2.0])


def test_as_pytorch_draws_it_it_would_be_silent():
    """The defect of the published code that `init_from_data` is there for."""
    silent = published((84, 84, 4))
    for layer in (*silent.hidden_layers, silent.readout):
        layer.reset_parameters()
    spikes = silent.activity(frames_of("atari/Breakout-v0")).spikes
    assert float(spikes[-1].sum()) == 0


def test_pictures_without_anything_in_them_do_no_harm():
    q = network()
    q.init_from_data(torch.zeros(8, 30, 30, 2))
    assert all(bool(p.isfinite().all()) for p in q.parameters())
    assert float(q.activity(pictures()).spikes[-1].mean()) > 0


def test_has_the_parameters_of_the_published_one():
    assert sum(p.numel() for p in published((84, 84, 4)).parameters()) == 1_686_180


@pytest.mark.parametrize("ticks", [2, 8, 64])
@pytest.mark.parametrize("kind", ["lif", "lif_soft", "if"])
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


def theirs(q: QNetwork, seen: torch.Tensor, ticks: int) -> list[torch.Tensor]:
    """Spikes of every layer of spikingjelly's own converted network, tick by tick, started as ours is."""
    inputs = (seen.float() / 255).permute(0, 3, 1, 2)
    spiking = Converter(conversion.recipe(inputs, 99.9)).convert(conversion.plain(q))
    spikes = []
    for part in spiking.modules():
        if isinstance(part, base.MemoryModule) and hasattr(part, "v_threshold"):
            one = []
            part.register_forward_hook(lambda _part, _inputs, fired, one=one: one.append(fired))
            spikes.append(one)
    with torch.no_grad():
        for _ in range(ticks):
            spiking(inputs)
    return [torch.stack(one) for one in spikes]


def test_a_converted_network_spikes_as_spikingjellys_does():
    q, seen = network(spiking=False), pictures()
    converted = conversion.convert(q, seen, 99.9, 16)
    for ours, others in zip(converted.activity(seen).spikes, theirs(q, seen, 16), strict=True):
        channels_last = others.permute(0, 1, 3, 4, 2) if others.dim() == 5 else others
        assert 0.05 < ours.mean() < 0.5
        assert float((ours != channels_last).float().mean()) < 1e-3  # sums of floats have an order


def test_a_converted_network_comes_nearer_with_ticks_and_agrees():
    q, seen = network(spiking=False), pictures(512)
    values = q(seen).detach()
    errors, agree = [], []
    for ticks in (4, 16, 64):
        converted = conversion.convert(q, seen, 99.9, ticks)
        found = converted(seen).detach()
        errors.append(float((found - values).square().mean()))
        agree.append(float((found.argmax(1) == values.argmax(1)).float().mean()))
        assert set(converted.activity(seen).spikes[0].unique().tolist()) == {0.0, 1.0}
    assert errors[0] > errors[1] > errors[2]
    assert agree[2] > 0.9


def rounded_network(levels: int = 16) -> QNetwork:
    q = network(spiking=False, levels=levels)
    with torch.no_grad():
        for layer in q.hidden_layers:  # as if they had learned them
            layer.log_ceiling.copy_(torch.rand(layer.log_ceiling.shape).log())
    return q


def test_rounded_activity_has_so_many_levels_up_to_its_ceiling():
    currents = torch.linspace(-1, 3, 400)[:, None].expand(400, 2).clone().requires_grad_(True)
    ceiling = torch.tensor([2.0, 0.5], requires_grad=True)
    found = q_network.rounded(currents, ceiling, 4)
    assert set((found / ceiling * 4).detach().round(decimals=4).unique().tolist()) == {
        0.0,
        1.0,
        2.0,
        3.0,
        4.0,
    }
    off = (found - currents.clamp(min=0).minimum(ceiling)).detach().abs()
    assert float(off.max()) <= 0.25 + 1e-5  # half a level
    found.sum().backward()
    inside = (currents > 0) & (currents < ceiling)
    assert torch.equal(currents.grad, inside.float())
    assert (ceiling.grad > 0).all()  # what is cut off pulls it up


@pytest.mark.parametrize("levels", [4, 16, 32])
def test_rounded_activity_becomes_the_same_number_of_spikes(levels):
    """Nothing is lost: what the network with rounded activity says, its spikes say."""
    q, seen = rounded_network(levels), pictures(256)
    converted = conversion.convert(q, seen, 100.0, 0)
    assert converted.options.ticks == levels and converted.spiking and not converted.levels
    with torch.no_grad():
        activity = q.enter(seen)
        for layer, spikes in zip(q.hidden_layers, converted.activity(seen).spikes, strict=True):
            activity, _ = q.units(layer, activity)
            assert spikes.shape[0] == levels and set(spikes.unique().tolist()) == {0.0, 1.0}
            counted = spikes.mean(0) * layer.log_ceiling.exp()
            assert (
                float((counted - activity[0]).abs().gt(1e-4).float().mean()) < 0.005
            )  # right between levels
        same = (converted(seen).argmax(1) == q(seen).argmax(1)).float().mean()
    assert same > 0.98


def test_ceilings_are_learned_and_gone_when_converted():
    q = rounded_network()
    q(pictures()).square().sum().backward()
    assert all(float(layer.log_ceiling.grad.abs().sum()) > 0 for layer in q.hidden_layers)
    converted = conversion.convert(q, pictures(), 100.0, 0)
    assert not [name for name in converted.state_dict() if "ceiling" in name]
    assert [name for name in q.state_dict() if "ceiling" in name]
