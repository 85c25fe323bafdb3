"""Policies on a simulated Loihi, and the processes that this takes."""

import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from spiking_wm_msgs.msg import Action

from spiking_wm.chips.backends.loihi_sim.backend import Backend
from spiking_wm.chips.backends.loihi_sim.options import Options
from spiking_wm.chips.backends.loihi_sim.simulator import ChipGone, Simulator, _members
from spiking_wm.chips.backends.registry import backend_class, backend_options
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.chips.nir import write
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import override
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.policy import PolicyNode
from test.chips import FLOAT, WHOLE, network_of, observations, policy_of, popsan
from test.conftest import ENV
from test.ros.graph import client, kill_child, run_to_end, send
from test.test_training import assert_same_state, final_state

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


def test_nothing_is_left_of_many_starts_and_stops(small, leaves_nothing):
    network, inputs = small
    for has_run in (True, False):
        chips = [Simulator(network, WHOLE) for _ in range(4)]
        for chip in chips if has_run else []:
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
        ("dsqn", "CartPole-v1", {"hidden": 16, "neuron": "lif_soft"}),
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
    assert not policy.network_runner(np.ones((5, 40)), None, None).any()
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
        (policy,) = (n for n in resolve_graph("train", given | more).nodes if n.executable == "policy")
        return override(Options(), yaml.safe_load(policy.parameters["backend_options"]) or {})

    assert told().patience == pytest.approx(patience)
    assert told(patience="2", weight_bits="6") == replace(told(), patience=2.0, weight_bits=6)
    with pytest.raises(UserError, match="weight_bits"):
        told(weight_bits="9")
    with pytest.raises(UserError, match="unknown parameter 'weight_bits'"):
        resolve_graph("train", {"run": str(tmp_path / "r"), "weight_bits": "6"})


# --- through ROS 2 ---


def test_a_run_whose_policy_is_on_the_chip_learns_bit_for_bit_the_same(tmp_path, tiny, leaves_nothing):
    given = tiny | {"actor_bits": 8, "policy_every": 40, "actor_hidden": [16], "evaluation_episodes": 1}
    train(Run.create(tmp_path / "one", resolve("popsan_dream", ENV, given), ENV))
    run_to_end("train", given | {"run": tmp_path / "graph", "policy_backend": "loihi_sim", "patience": 30})
    assert_same_state(final_state(Run(tmp_path / "one")), final_state(Run(tmp_path / "graph")))
    one, graph = (Run(tmp_path / name).table("evaluations") for name in ("one", "graph"))
    assert [row["returns"] for row in one] == [row["returns"] for row in graph] != []


def test_a_policy_node_goes_on_when_its_chip_is_killed(tmp_path, tiny):
    given = tiny | {
        "run": tmp_path / "run",
        "steps": 50_000,
        "policy_backend": "loihi_sim",
        "patience": 30,  # a crowded machine may be slow, and then the chip would be given up
        "evaluate_every": 0,
        "policy_every": 100_000,
        "warmup": 0,
    }
    started = resolve_graph(
        "train", {name: str(value) for name, value in given.items()} | {"policy_every": "100000"}
    )
    with client() as made, Processes(started) as processes:
        actions = made.listen(Action, "action", qos.EVERY)
        heard = made.listen(DiagnosticArray, "/diagnostics", 10)

        def policy_says(text: str) -> bool:
            statuses = [s for message in heard for s in message.status if s.name.endswith("policy")]
            return any(text in s.message or any(text in v.value for v in s.values) for s in statuses)

        made.until(lambda: len(actions) > 20 and policy_says("loihi_sim fixed_pt"))
        kill_child(processes, "policy", "loihi_sim.child")
        made.until(lambda: policy_says("is gone"))
        seen = len(actions)
        made.until(lambda: len(actions) > seen + 50)
        send(processes, "bridge", signal.SIGINT)


def test_the_first_version_retires_no_chip():
    """A second one may be placed before the first one acts: to retire None would stop the chips of both."""
    node, retired = object.__new__(PolicyNode), []
    node._policy, node._version, node._refused, node._players, node._pending = None, 0, "", {}, {}
    node._backend = SimpleNamespace(retire=None)
    node._loader = SimpleNamespace(submit=lambda _, policy: retired.append(policy))
    for version, policy in enumerate(("first", "second"), 1):
        PolicyNode._swap(node, policy, version)
    assert retired == ["first"]
