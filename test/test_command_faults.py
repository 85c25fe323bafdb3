"""`./swm` when it is stopped at any stage, without nodes."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spiking_wm.core.files import newest_checkpoint
from spiking_wm.core.storage import load_facts
from spiking_wm_ros.graph.ends import (
    exit_code,
    failed_while_ending,
    failure,
    failure_while_ending,
    how_it_ended,
)
from spiking_wm_ros.graph.parts import NodeSpec, ResolvedGraph
from test.conftest import TINY

ROOT = Path(__file__).resolve().parents[1]
LONG = [f"{k}:={v}" for k, v in (TINY | {"steps": 100_000}).items()]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "spiking_wm_ros.cli", *arguments]


def until(condition, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.02)
    return found


def loads(run: Path) -> bool:
    """Whether the newest checkpoint of a run loads."""
    return bool(load_facts(newest_checkpoint(run) / "agent.safetensors"))


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "policy was killed (SIGKILL; if nobody did it, memory ran out)"),
        (-11, "policy was killed (SIGSEGV)"),
        (143, "policy was stopped (SIGTERM)"),
        (2, "policy ended with an error, see above"),
        (1, "policy ended unexpectedly (exit code 1), see above"),
        (0, "policy ended unexpectedly (exit code 0), see above"),
        (255, "policy was stopped (signal 127)"),
    ],
)
def test_the_end_of_a_node_in_words(code, words):
    assert how_it_ended("policy", code) == words


@pytest.mark.parametrize(
    ("nodes", "ended", "message", "code"),
    [
        ("bridge policy dreamer", {"dreamer": 0}, "", None),
        ("bridge policy", {"bridge": 0}, "", None),
        ("bridge policy dreamer", {"bridge": 0}, "bridge ended unexpectedly", 1),
        ("bridge policy dreamer", {"dreamer": -9}, "dreamer was killed (SIGKILL", 1),
        ("bridge policy dreamer", {"dreamer": 2, "policy": -9}, "start it again", 2),
        (
            "gate robot",
            {"gate": -9},
            "gate was killed (SIGKILL; if nobody did it, memory ran out): the robot",
            1,
        ),
        ("viewer", {"viewer": 143}, "viewer was stopped (SIGTERM): start it again", 1),
    ],
)
def test_a_graph_that_ends_too_early_says_why(tmp_path, nodes, ended, message, code):
    resolved = ResolvedGraph([NodeSpec(name, {}) for name in nodes.split()], tmp_path)
    failed = failure(resolved, ended)
    assert message in failed and bool(message) == bool(failed)
    if failed:
        assert exit_code(ended) == code


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("bridge", 2, "bridge ended with an error, see above: what was learned is saved"),
        ("recorder", 1, "recorder ended unexpectedly (exit code 1), see above: what was learned is saved"),
        ("dreamer", 2, "dreamer ended with an error, see above: start it again"),
        ("dreamer", -9, "dreamer was killed (SIGKILL; if nobody did it, memory ran out): start it again"),
        ("bridge", -9, ""),  # its environment hangs, which is told; nothing is lost
        ("policy", 143, ""),
        ("policy", -15, ""),  # before it had a handler
        ("policy", 0, ""),
    ],
)
def test_a_node_that_fails_when_it_is_asked_to_end_is_an_error(tmp_path, name, code, message):
    resolved = ResolvedGraph([NodeSpec(node, {}) for node in ("bridge", "policy", "dreamer")], tmp_path)
    assert failed_while_ending(name, code) == bool(message)
    if message:
        assert failure_while_ending(resolved, {name: code}) == message


def test_with_a_checkpoint_the_next_step_is_to_resume(tmp_path):
    (tmp_path / "checkpoints" / "step_0000000010_0000").mkdir(parents=True)
    resolved = ResolvedGraph([NodeSpec(name, {}) for name in ("bridge", "dreamer")], tmp_path)
    assert failure(resolved, {"bridge": -9}).endswith(f": go on by ./swm train resume:={tmp_path}")


def ignoring(*numbers: int):
    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return ignore


def started(*arguments: str, ignored: tuple[int, ...] = (), **given) -> subprocess.Popen:
    """A command whose signals are at their defaults, except those that are ignored."""
    return subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=ignoring(*ignored),
        **given,
    )


def catches(process: subprocess.Popen, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in status if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_anything_is_started_ends_it_in_one_line(tmp_path, number):
    with started("train", f"run:={tmp_path / 'run'}", *LONG, ignored=(signal.SIGINT,)) as process:
        until(lambda: catches(process, number))
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert told == f"stopped by {number.name}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_training_leaves_a_checkpoint(tmp_path, number):
    """Also where SIGINT was inherited as ignored, as in the background of a script."""
    run = tmp_path / "run"
    arguments = ("train", "--in-process", f"run:={run}", *LONG)
    with started(*arguments, ignored=(signal.SIGINT,)) as process:
        until(lambda: (run / "episodes.csv").exists())
        process.send_signal(number)
        told, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    assert f"resume it by resume:={run}" in told and "Traceback" not in errors
    assert loads(run)


HANGS = """
import gymnasium, numpy, pathlib, time
class Hangs(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (2,)), gymnasium.spaces.Box(-1, 1, (1,))
    steps = 0
    def reset(self, **_):
        return numpy.zeros(2, numpy.float32), {}
    def step(self, action):
        self.steps += 1
        if self.steps == 70:
            pathlib.Path(__file__).with_name("hangs").touch()
            while True:  # one long sleep could begin just after a signal
                time.sleep(0.1)
        return numpy.zeros(2, numpy.float32), 1.0, False, self.steps % 20 == 0, {}
def make():
    return Hangs()
"""


@pytest.mark.slow
def test_a_second_signal_ends_an_environment_that_hangs_with_what_was_learned(tmp_path):
    (tmp_path / "hanging.py").write_text(HANGS)
    run, found = tmp_path / "run", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    options = TINY | {"algorithm": "popsan", "env": "hanging:make", "evaluate_every": 0, "run": run}
    arguments = ("train", "--in-process", *(f"{name}:={value}" for name, value in options.items()))
    with started(*arguments, env=os.environ | {"PYTHONPATH": found}) as process:
        until((tmp_path / "hangs").exists)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode in (130, 143) and errors.splitlines()[-1].startswith("stopped by SIG")
    assert "Traceback" not in errors and loads(run)


@pytest.mark.slow
def test_under_nohup_a_closed_terminal_ends_nothing(tmp_path):
    run = tmp_path / "run"
    arguments = ("train", "--in-process", f"run:={run}", *LONG)
    with started(*arguments, ignored=(signal.SIGHUP,)) as process:
        until(lambda: (run / "episodes.csv").exists())
        process.send_signal(signal.SIGHUP)
        size = (run / "episodes.csv").stat().st_size
        until(lambda: (run / "episodes.csv").stat().st_size > size)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0 and loads(run)


@pytest.mark.slow
def test_training_whose_terminal_is_closed_ends_with_a_checkpoint_and_a_report(tmp_path):
    run = tmp_path / "run"
    process, terminal = pty.fork()
    if not process:
        os.chdir(ROOT)
        os.execv(sys.executable, command("train", "--in-process", f"run:={run}", *LONG))
    os.set_blocking(terminal, False)

    def drawn() -> bool:
        """Read what it draws, as a terminal does."""
        with contextlib.suppress(BlockingIOError):
            os.read(terminal, 65536)
        return (run / "episodes.csv").exists()

    until(drawn)
    os.close(terminal)
    _, status = until(lambda: (found := os.waitpid(process, os.WNOHANG))[0] and found)
    assert os.waitstatus_to_exitcode(status) == 0
    assert loads(run) and (run / "report.html").exists()
