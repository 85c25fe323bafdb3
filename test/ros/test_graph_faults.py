"""Nodes that are killed, and signals to the command that has started them."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from spiking_wm_ros.cli.signals import Stopped, heeding, stop
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from test.conftest import TINY
from test.ros.graph import children
from test.test_command_faults import HANGS, ROOT, ignoring, loads, until

LONG = TINY | {"steps": 100_000, "checkpoint_every": 20}


@contextmanager
def training(run: Path, **given):
    """`./swm train` with SIGINT ignored, as in the background of a script; in capitals: its environment."""
    environment = {name: str(given.pop(name)) for name in list(given) if name.isupper()}
    arguments = [f"{k}:={v}" for k, v in (LONG | {"run": run} | given).items()]
    process = subprocess.Popen(
        [str(ROOT / "swm"), "train", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=ignoring(signal.SIGINT),
        env={k: v for k, v in os.environ.items() if k != "SWM_ACTIVE"} | environment,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def node(process: subprocess.Popen, name: str) -> int:
    """The process of a node, once there is one."""
    return until(lambda: children(process.pid, f"spiking_wm_ros.nodes.{name}\0"))[0]


def has_checkpoint(run: Path) -> bool:
    return any((run / "checkpoints").glob("step_*"))


def test_a_vital_node_that_is_killed_is_named_with_what_to_do_next(tmp_path):
    run, name = tmp_path / "run", "dreamer"
    with training(run) as process:
        until(lambda: has_checkpoint(run) or process.poll() is not None)
        os.kill(node(process, name), signal.SIGKILL)
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    last = errors.splitlines()[-1]
    assert last.startswith(f"error: {name} was killed (SIGKILL; if nobody did it, memory ran out): ")
    assert last.endswith(f"go on by ./swm train resume:={run}")
    assert "everything is in" not in told and loads(run)


def test_a_node_that_somebody_stops_is_not_taken_for_finished(tmp_path):
    run = tmp_path / "run"
    with training(run) as process:
        until(lambda: has_checkpoint(run) or process.poll() is not None)
        os.kill(node(process, "dreamer"), signal.SIGTERM)
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "everything is in" not in told
    assert "error: dreamer was stopped (SIGTERM): go on by ./swm train resume:=" in errors
    assert loads(run)


def test_a_learner_that_is_killed_ends_training_with_its_reason(tmp_path):
    run = tmp_path / "run"
    with training(run) as process:
        until(lambda: has_checkpoint(run))
        learner = until(lambda: children(node(process, "dreamer"), "multiprocessing.spawn"))[0]
        os.kill(learner, signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and "the learner process was killed (SIGKILL" in errors
    assert errors.splitlines()[-1].endswith(f"go on by ./swm train resume:={run}")
    assert loads(run)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_node_is_ended_whose_start_a_signal_meets(tmp_path, monkeypatch, number, capfd):
    resolved = resolve_graph("train", {"run": str(tmp_path / "run")})
    start, started = subprocess.Popen, []

    def start_and_signal(*args, **options) -> subprocess.Popen:
        started.append(start(*args, **options))
        signal.raise_signal(number)
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start_and_signal)
    with heeding(stop), pytest.raises(Stopped):
        Processes(resolved)
    assert len(started) == 1 and started[0].returncode is not None
    assert capfd.readouterr().err == ""


STAGES = {
    "nodes start": lambda process, run: children(process.pid, "spiking_wm_ros.nodes."),
    "nodes configure": lambda process, run: (run / "config.yaml").exists(),
    "training": lambda process, run: has_checkpoint(run),
    "saving": lambda process, run: any((run / "checkpoints").glob(".unfinished_*")),
}


@pytest.mark.parametrize(
    ("stage", "number"),
    [
        ("nodes start", signal.SIGINT),
        ("nodes configure", signal.SIGHUP),
        ("training", signal.SIGINT),
        ("saving", signal.SIGTERM),
    ],
)
def test_a_signal_at_any_stage_ends_the_graph_with_what_it_has_saved(tmp_path, stage, number):
    run = tmp_path / "run"
    with training(run) as process:
        deadline = time.monotonic() + 60
        while not STAGES[stage](process, run):  # without pauses: files come and go within milliseconds
            assert time.monotonic() < deadline and process.poll() is None
        nodes = children(process.pid, "spiking_wm_ros.nodes.")
        saved = has_checkpoint(run)
        process.send_signal(number)
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "stopped" in told and "Traceback" not in errors and "error" not in errors, errors
    until(lambda: not any(Path(f"/proc/{node}").exists() for node in nodes), 5.0)
    if saved or "the newest checkpoint is kept" in told:
        assert loads(run)
    if stage in ("training", "saving"):
        assert "the newest checkpoint is kept" in told


def test_an_environment_that_hangs_is_killed_with_its_node(tmp_path):
    (tmp_path / "hanging.py").write_text(HANGS)
    run, found = tmp_path / "run", f"{tmp_path}:{os.environ['PYTHONPATH']}"
    given = {"algorithm": "popsan", "env": "hanging:make", "evaluate_every": 0, "PYTHONPATH": found}
    with training(run, **given) as process:
        until((tmp_path / "hangs").exists)
        process.send_signal(signal.SIGTERM)
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and loads(run)
    assert errors.endswith("warning: bridge did not end within 6 s: it is killed\n")
    assert "the newest checkpoint is kept" in told and f"saved in {run}, without a report" in told


def test_of_two_trainings_in_one_domain_that_start_at_once_one_lives(tmp_path):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with (
        training(folders[0] / "run", TMPDIR=folders[0]) as one,
        training(folders[1] / "run", TMPDIR=folders[1]) as two,
    ):
        refused = until(lambda: [each for each in (one, two) if each.poll() is not None])[0]
        lives, run = (two, folders[1] / "run") if refused is one else (one, folders[0] / "run")
        assert refused.wait() == 2
        assert "another graph runs in ROS domain" in refused.stderr.read()
        until(lambda: has_checkpoint(run))
        lives.send_signal(signal.SIGTERM)
        told, _ = lives.communicate(timeout=60)
    assert lives.returncode == 0 and "the newest checkpoint is kept" in told and loads(run)


def test_two_trainings_without_a_domain_have_one_each(tmp_path):
    runs = [tmp_path / "one", tmp_path / "two"]
    short = {"namespace": f"test_{os.getpid()}", "steps": 120}  # for domains that others may use
    with (
        training(runs[0], ROS_DOMAIN_ID="", **short) as one,
        training(runs[1], ROS_DOMAIN_ID="", **short) as two,
    ):
        said = [each.communicate(timeout=120) for each in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], said
    assert sum("another graph runs in ROS domain 0: this one is in domain" in told for told, _ in said) == 1
    first, second = ((run / "episodes.csv").read_text() for run in runs)
    assert first == second and all(map(loads, runs))
