"""Networks on Lava's Loihi 2, in processes of their own: the real one, as on a robot."""

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from hypothesis import given
from hypothesis import strategies as st
from spiking_wm_msgs.msg import Action

from spiking_wm_ros.agents.options import override
from spiking_wm_ros.agents.registry import agent_class, settle
from spiking_wm_ros.agents.run import Run
from spiking_wm_ros.agents.spaces import Spaces
from spiking_wm_ros.agents.trainer import train
from spiking_wm_ros.backends.loihi_sim.backend import Backend
from spiking_wm_ros.backends.loihi_sim.fixed_point import fixed
from spiking_wm_ros.backends.loihi_sim.options import Options
from spiking_wm_ros.backends.loihi_sim.simulator import ChipGone, Simulator, _members
from spiking_wm_ros.backends.recorder import Recorder
from spiking_wm_ros.backends.registry import backend_class, backend_options
from spiking_wm_ros.envs.session import make_env
from spiking_wm_ros.errors import UserError
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import settle_graph
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.snn.chip_network import ChipNetwork, Layer
from spiking_wm_ros.snn.chip_reference import trains_of
from spiking_wm_ros.snn.nir_files import write
from spiking_wm_ros.snn.popsan import PopSAN, chip_layers
from spiking_wm_ros.snn.q_network import QNetwork
from spiking_wm_ros.snn.sizes import PopSANSizes, QSizes
from test.conftest import ENV
from test.graph import client, kill_chip, run_to_end, send
from test.test_training import assert_same_state, final_state

FLOAT, WHOLE = Options(precision="floating_pt", patience=30.0), Options(patience=30.0)


def popsan(bits: int = 0, hidden: tuple = (48, 32)) -> PopSAN:
    """One whose layers all fire, biases included."""
    torch.manual_seed(1)
    net = PopSAN(5, 3, PopSANSizes(hidden=hidden, bits=bits))
    with torch.no_grad():
        for layer in net.layers:
            layer.weight *= 3
            layer.bias *= 3
    return net


def network_of(net: PopSAN) -> ChipNetwork:
    return ChipNetwork(chip_layers(net.acting()), net.sizes.ticks)


def observations(count: int, width: int = 5) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


def on_chip(network: ChipNetwork, options: Options, inputs: np.ndarray) -> list[np.ndarray]:
    """Spikes ``[T, B, N]`` of every layer, a decision for each of ``[T, B, inputs]``."""
    chip = Simulator(network, options, probes=True)
    try:
        decisions = [chip.run(inputs[:, k]) for k in range(inputs.shape[1])]
    finally:
        chip.close()
    return [np.stack(train, 1) for train in zip(*decisions)]


def policy_of(algorithm: str, env: str, **given):
    """An untrained policy, and its environment."""
    setup, made = settle(algorithm, env, given), make_env(env)
    agent = agent_class(setup.agent)(setup.agent_options, Spaces.of(made), 0)
    policy = agent.policy_class(setup.agent_options, agent.spaces)
    policy.load(agent.policy_weights() | ({"random": torch.tensor(False)} if setup.agent == "popsan" else {}))
    return policy, made


# --- what is computed ---


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


@pytest.mark.parametrize("neuron", ["lif", "if"])
def test_convolutions_and_pictures_are_the_same_on_the_chip(neuron):
    torch.manual_seed(0)
    sizes = QSizes(neuron=neuron, channels=(6, 8), kernels=(3, 2), strides=(1, 2), hidden=20, ticks=4)
    net = QNetwork((8, 7, 3), 4, sizes)
    pictures = torch.randint(0, 2, (12, 8, 7, 3), dtype=torch.uint8) * 255
    want = [spikes.flatten(2).numpy() for spikes in net.activity(pictures).spikes]
    network = ChipNetwork(net.chip_layers(), 4, reach=255.0)
    inputs = pictures.reshape(1, 12, -1).numpy().astype(float)
    whole = on_chip(network, WHOLE, inputs)
    for k, mine in enumerate(on_chip(network, FLOAT, inputs)):
        np.testing.assert_array_equal(mine, want[k])
        assert 0.02 < want[k].mean() < 0.8
        assert (whole[k] != want[k]).mean() < 0.05


def test_recurrent_networks_remember_each_course_of_events_apart():
    policy, env = policy_of("rsnn", ENV, neurons=60)
    recorder, courses, own = Recorder(), [], []
    policy.elsewhere = recorder
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
            v[n] = 0.0 if trains[-1][n] else v[n]
    return trains


def test_the_reference_is_what_the_definition_says():
    rng = np.random.default_rng(0)
    layer = Layer(rng.integers(-8, 9, (4, 6)) / 8, rng.integers(-4, 5, 4) / 8, 0.5, 0.75, 0.5)
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


# --- its processes ---


@pytest.fixture
def leaves_nothing(tmp_path, monkeypatch):
    """After the test there is no process, folder or shared memory of the chips that it started."""
    mark = f"SWM_TEST={tmp_path}"
    monkeypatch.setenv(*mark.split("=", 1))
    of_others = {*_folders_of_nobody(), *_memory_of_nobody()}  # whoever was killed before
    yield
    for _ in range(50):  # chips of other tests may be ending this moment
        if not (left := {*_processes(mark), *_folders_of_nobody(), *_memory_of_nobody()} - of_others):
            break
        time.sleep(0.1)
    assert not left


def _folders_of_nobody() -> list[Path]:
    """Folders of this process, or of processes that have ended."""
    folders = [(path, int(re.findall(r"\d+", path.name)[0])) for path in Path("/tmp").glob("loihi_sim*_*")]
    return [path for path, pid in folders if pid == os.getpid() or not Path(f"/proc/{pid}").exists()]


def _processes(mark: str) -> list[str]:
    """Chips' processes with this in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command, environment = ((folder / name).read_bytes() for name in ("cmdline", "environ"))
            if b"loihi_sim.child" in command and mark.encode() in environment:
                found.append(folder.name)
    return found


def _memory_of_nobody() -> set[str]:
    """Python's segments of shared memory that no process has."""
    names = {path.name for path in Path("/dev/shm").glob("psm_*")}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            names -= set(re.findall(r"/dev/shm/(psm_\w+)", (folder / "maps").read_text()))
    return names


@pytest.fixture
def small() -> tuple[ChipNetwork, np.ndarray]:
    net = popsan(hidden=(8,))
    with torch.no_grad():
        return network_of(net), net.spikes(observations(1))[0][:, 0].numpy()


@pytest.mark.parametrize("ill", ["killed", "stopped", "part killed"])
def test_a_crash_or_a_hang_is_noticed_in_time(small, leaves_nothing, ill):
    network, inputs = small
    chip = Simulator(network, replace(WHOLE, patience=1.0))
    assert chip.run(inputs)[0].shape == (5, 30)
    child = chip._process.pid
    part = next(member for member in _members(child)[::-1] if member != child)
    victims = {"killed": (child, signal.SIGKILL), "stopped": (child, signal.SIGSTOP)}
    os.kill(*victims.get(ill, (part, signal.SIGKILL)))
    began = time.monotonic()
    with pytest.raises(ChipGone, match="has ended" if ill == "killed" else "no answer within 1 s"):
        for _ in range(3):  # what has been killed may have sent its part already
            chip.run(inputs)
    assert time.monotonic() - began < 2.5
    with pytest.raises(ChipGone):
        chip.run(inputs)
    chip.close()


def test_nothing_is_left_of_fifty_starts_and_stops(small, leaves_nothing):
    network, inputs = small
    for batch in range(10):
        chips = [Simulator(network, WHOLE) for _ in range(5)]
        for chip in chips[: batch % 2 * 5 or None]:  # some have run, some have not
            chip.run(inputs)
        for chip in chips:
            chip.close()


# --- policies ---


def test_a_policy_acts_on_the_chip_as_it_does_here():
    policy, env = policy_of("popsan", ENV, actor_bits=8)
    seen = [env.reset(seed=k)[0].astype(np.float32) for k in range(10)]
    own = [policy.act(observation, None, None)[0] for observation in seen]
    backend = Backend(WHOLE)
    backend.place(policy)
    np.testing.assert_array_equal([policy.act(observation, None, None)[0] for observation in seen], own)
    assert backend.figures()["runs_on"] == "loihi_sim fixed_pt" and backend.figures()["chip_ms"] > 0
    os.kill(backend._chips[policy]._process.pid, signal.SIGKILL)
    np.testing.assert_array_equal([policy.act(observation, None, None)[0] for observation in seen], own)
    assert "is gone" in backend.fault and backend.figures()["runs_on"] == "host"
    backend.retire(None)
    assert backend._chips == {}


def test_an_old_policy_whose_chip_is_gone_takes_nothing_from_the_new_one():
    (old, _), (new, _) = (policy_of("popsan", ENV, actor_bits=8) for _ in range(2))
    backend, seen = Backend(WHOLE), np.zeros(4, np.float32)
    backend.place(old)
    os.kill(backend._chips[old]._process.pid, signal.SIGKILL)
    old.act(seen, None, None)
    assert "is gone" in backend.fault
    backend.place(new)
    old.act(seen, None, None)  # it still acts, by the host
    assert not backend.fault
    new.act(seen, None, None)
    assert backend._chips[new].figures["decisions"] == 1
    backend.retire(None)


def test_without_a_fallback_the_policy_ends_with_the_chip():
    policy, _ = policy_of("popsan", ENV)
    backend = Backend(replace(WHOLE, fallback="none"))
    backend.place(policy)
    os.kill(backend._chips[policy]._process.pid, signal.SIGKILL)
    with pytest.raises(UserError, match="fallback:=host"):
        policy.act(np.zeros(4, np.float32), None, None)
    backend.retire(None)


@pytest.mark.parametrize(
    ("algorithm", "env", "given"),
    [
        ("dsqn", "minatar/Breakout-v0", {"channels": [4], "hidden": 16}),
        ("dsqn_if", "CartPole-v1", {"hidden": 16}),
        ("rsnn", "CartPole-v1", {"neurons": 30}),
    ],
)
def test_policies_of_other_kinds_act_on_the_chip(algorithm, env, given):
    policy, made = policy_of(algorithm, env, **given)
    seen = policy.spaces.check_observation(made.reset(seed=0)[0])
    backend, acted = Backend(FLOAT), []
    for placed in (False, True):
        if placed:
            backend.place(policy)
        state, actions = policy.initial_state(), []
        for _ in range(5):
            action, state = policy.act(seen, state, None)
            actions.append(action)
        acted.append(actions)
    np.testing.assert_array_equal(*acted)
    assert backend._acting.figures["decisions"] >= 4  # a random one in twenty needs none
    backend.retire(None)


@pytest.mark.parametrize(
    ("algorithm", "env"), [("spiking_wm", ENV), ("dqn", "minatar/Breakout-v0"), ("spiking_dt", "CartPole-v1")]
)
def test_networks_that_no_chip_runs_are_refused(algorithm, env):
    given = {"dataset": ""} if algorithm == "spiking_dt" else {}
    policy, _ = policy_of(algorithm, env, **given)
    with pytest.raises(UserError, match="policy_backend:=host"):
        Backend(WHOLE).place(policy)


def test_a_network_of_a_file_runs_in_the_policys_place(tmp_path):
    policy, _ = policy_of("popsan", ENV)
    silent = [
        layer._replace(weights=0 * layer.weights, bias=0 * layer.bias)
        for layer in policy.chip_network().layers
    ]
    write(policy.chip_network()._replace(layers=tuple(silent)), tmp_path / "silent.nir")
    backend = Backend(replace(WHOLE, nir=str(tmp_path / "silent.nir")))
    backend.place(policy)
    assert not policy.elsewhere(np.ones((5, 40)), None, None).any()
    backend.retire(None)
    other, _ = policy_of("popsan", "Pendulum-v1")
    with pytest.raises(UserError, match="export the network of this policy"):
        backend.place(other)


def test_backends_are_found_by_name():
    assert backend_options("loihi_sim") is Options and backend_class("loihi_sim") is Backend
    with pytest.raises(UserError, match="did you mean 'loihi_sim'"):
        backend_class("loihi_sims")


@pytest.mark.parametrize(("rate", "patience"), [("0", 0.5), ("50", 0.03)])
def test_patience_is_a_matter_of_the_control_period(tmp_path, rate, patience):
    given = {"run": str(tmp_path / "r"), "policy_backend": "loihi_sim", "rate_hz": rate}

    def told(**more) -> Options:
        (policy,) = (n for n in settle_graph("train", given | more).nodes if n.executable == "policy")
        return override(Options(), yaml.safe_load(policy.parameters["backend_options"]) or {})

    assert told().patience == pytest.approx(patience)
    assert told(patience="2", weight_bits="6") == replace(told(), patience=2.0, weight_bits=6)
    with pytest.raises(UserError, match="weight_bits"):
        told(weight_bits="9")
    with pytest.raises(UserError, match="unknown parameter 'weight_bits'"):
        settle_graph("train", {"run": str(tmp_path / "r"), "weight_bits": "6"})


# --- through ROS 2 ---


def test_a_run_whose_policy_is_on_the_chip_learns_bit_for_bit_the_same(tmp_path, tiny, leaves_nothing):
    given = tiny | {"actor_bits": 8, "policy_every": 40, "actor_hidden": [16, 16]}
    train(Run.create(tmp_path / "one", settle("popsan_dream", ENV, given), ENV))
    run_to_end("train", given | {"run": tmp_path / "graph", "policy_backend": "loihi_sim", "patience": 30})
    assert_same_state(final_state(Run(tmp_path / "one")), final_state(Run(tmp_path / "graph")))
    one, graph = (Run(tmp_path / name).table("evaluations") for name in ("one", "graph"))
    assert [row["returns"] for row in one] == [row["returns"] for row in graph] != []


def test_a_policy_node_goes_on_when_its_chip_is_killed(tmp_path, tiny):
    given = tiny | {
        "run": tmp_path / "run",
        "steps": 50_000,
        "policy_backend": "loihi_sim",
        "evaluate_every": 0,
        "policy_every": 100_000,
        "warmup": 0,
    }
    started = settle_graph(
        "train", {name: str(value) for name, value in given.items()} | {"policy_every": "100000"}
    )
    with client() as made, Processes(started) as processes:
        actions = made.listen(Action, "action", qos.EVERY)
        heard = made.listen(DiagnosticArray, "/diagnostics", 10)

        def policy_says(text: str) -> bool:
            statuses = [s for message in heard for s in message.status if s.name.endswith("policy")]
            return any(text in s.message or any(text in v.value for v in s.values) for s in statuses)

        made.until(lambda: len(actions) > 20 and policy_says("loihi_sim fixed_pt"))
        kill_chip(processes)
        made.until(lambda: policy_says("is gone"))
        seen = len(actions)
        made.until(lambda: len(actions) > seen + 50)
        send(processes, "bridge", signal.SIGINT)


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
