"""Nothing that was learned is lost in the graph: a full disk, a learner that fails, a refused version."""

import os
import subprocess
import sys
import textwrap
import time

import pytest

from spiking_wm.core.files import check_checkpoint
from spiking_wm.core.presets import resolve
from spiking_wm.core.storage import load_facts
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from test.conftest import ENV, TINY
from test.ros.graph import wait_for_end
from test.ros.test_graph import endless, start
from test.test_nothing_lost_full_disk import EVENTFUL, assert_all_is_there, disk  # noqa: F401
from test.test_training import final_state


def until(condition, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines_with(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(start)]


# --- a full disk ---


@pytest.mark.parametrize("full", ["go_on", "wait"])
def test_a_disk_that_is_full_for_a_while_changes_nothing(tmp_path, disk, full, capfd):  # noqa: F811
    whole = Run.create(tmp_path / "whole", resolve("popsan_dream", ENV, EVENTFUL), ENV)
    train(whole)
    run = Run(disk.path / "run")
    with start(run.path, EVENTFUL | {"on_full_disk": full}) as processes:
        until(lambda: run.checkpoints.all())
        disk.fill()
        if full == "wait":
            time.sleep(0.5)
            assert not processes.ended()
        else:
            until(lambda: "No space left on device" in capfd.readouterr().err or processes.ended())
        disk.free()
        assert wait_for_end(processes) == {"dreamer": 0}
    assert_all_is_there(run, whole)


def swm(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "spiking_wm_ros.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def test_a_run_whose_last_save_fails_does_not_end_well(disk):  # noqa: F811
    disk.fill()
    with (disk.path / "ballast").open("rb+") as file:  # room for what a run begins with
        file.truncate(file.seek(0, 2) - 96 * 1024)
    options = [f"{name}:={value}" for name, value in (EVENTFUL | {"steps": 60}).items()]
    ended = swm("train", f"run:={disk.path / 'run'}", *options)
    assert ended.returncode == 2 and "everything is in" not in ended.stdout
    (told,) = lines_with(ended.stderr, "error: not saved in")
    assert "the checkpoint" in told and "No space left on device" in told
    assert "Traceback" not in ended.stderr


def test_a_run_that_is_stopped_and_cannot_save_does_not_end_well(tmp_path, disk, capfd):  # noqa: F811
    run = Run(disk.path / "run")
    with start(run.path, endless(EVENTFUL)) as processes:
        until(lambda: len(run.table("episodes")) > 2)
        disk.fill()
        dreamer = processes._children["dreamer"]
        dreamer.terminate()
        assert dreamer.wait(20) == 2
    assert lines_with(capfd.readouterr().err, f"error: not saved in {run.path}")


# --- a learner that fails ---


def failing(tmp_path, monkeypatch, code: str) -> None:
    """Let the processes of a graph run some code at their start."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(textwrap.dedent(code))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ['PYTHONPATH']}")


def test_a_learner_that_fails_saves_once_and_says_why_in_one_line(tmp_path, monkeypatch, capfd):
    failing(
        tmp_path,
        monkeypatch,
        """
        import sys
        if "spawn_main" in " ".join(sys.orig_argv):
            import spiking_wm.training.learner as learner
            whole = learner.Learner._work
            def work(self):
                if self.step == 75:
                    raise RuntimeError("out of\\nmemory")
                return whole(self)
            learner.Learner._work = work
        """,
    )
    run = Run(tmp_path / "run")
    with start(run.path, TINY) as processes:
        assert wait_for_end(processes) == {"dreamer": 2}
    errors = capfd.readouterr().err
    (told,) = lines_with(errors, "error: ")
    (failed,) = run.checkpoints.failed()
    assert "RuntimeError: out of memory" in told and str(failed) in told
    assert "goes on from step_0000000060" in told and "Traceback" not in errors
    assert "RuntimeError: out of\nmemory" in (run.path / "log.txt").read_text()
    check_checkpoint(run.newest())
    assert load_facts(failed / "agent.safetensors")["learner"]["step"] == 75


def test_an_environment_that_fails_leaves_a_checkpoint_and_its_traceback(tmp_path, monkeypatch):
    failing(
        tmp_path,
        monkeypatch,
        """
        import sys
        if "spiking_wm_ros.nodes.bridge" in " ".join(sys.orig_argv):
            from gymnasium.envs.mujoco.inverted_pendulum_v5 import InvertedPendulumEnv as Env
            whole, count = Env.step, [0]
            def step(self, action):
                count[0] += 1
                if count[0] == 90:
                    raise RuntimeError("motor 3 is hot")
                return whole(self, action)
            Env.step = step
        """,
    )
    run = Run(tmp_path / "run")
    given = TINY | {"evaluate_every": 0, "checkpoint_every": 0}
    ended = swm("train", f"run:={run.path}", *(f"{name}:={value}" for name, value in given.items()))
    assert ended.returncode == 2, ended
    told = lines_with(ended.stderr, "error: ")
    assert "RuntimeError: motor 3 is hot" in told[0] and f"traceback in {run.path / 'log.txt'}" in told[0]
    assert "Traceback" not in ended.stderr and "go on by ./swm train resume:=" in told[-1]
    assert 'RuntimeError("motor 3 is hot")' in (run.path / "log.txt").read_text()
    assert final_state(run)[1]["step"] == 89  # the step that was not taken is not in it


# --- a version that the policy refuses ---


def test_training_ends_within_five_seconds_with_the_reason_if_a_version_is_refused(
    tmp_path, monkeypatch, capfd
):
    failing(
        tmp_path,
        monkeypatch,
        """
        import sys
        if "spawn_main" in " ".join(sys.orig_argv):
            from spiking_wm.runs.folder import Run
            whole = Run.write_policy
            def write_policy(self, weights, setup, spaces, version):
                path = whole(self, weights, setup, spaces, version)
                if version == 6:  # a disk that writes something else
                    path.write_bytes(path.read_bytes()[:-1] + b"?")
                return path
            Run.write_policy = write_policy
        """,
    )
    run = Run(tmp_path / "run")
    with start(run.path, endless(TINY) | {"checkpoint_every": 20}) as processes:
        until(lambda: run.policy_path(6).exists())
        began = time.monotonic()
        until(processes.ended)
        took = time.monotonic() - began
        assert processes.ended() == {"policy": 2} and took < 5
    (told,) = lines_with(capfd.readouterr().err, "error: ")
    assert "version 6 refused" in told and "its checksum is another one" in told
    check_checkpoint(run.newest())
    assert final_state(run)[1]["version"] == 6


def test_a_version_whose_file_is_deleted_is_written_again(tmp_path, monkeypatch, capfd):
    failing(
        tmp_path,
        monkeypatch,
        """
        import sys
        if "spawn_main" in " ".join(sys.orig_argv):
            import spiking_wm_ros.nodes.learner.child as child
            whole, gone = child.sha256, []
            def sha256(path):
                digest = whole(path)
                if path.name == "policy_000006.safetensors" and not gone:
                    gone.append(path.unlink())
                return digest
            child.sha256 = sha256
        """,
    )
    run = Run(tmp_path / "run")
    with start(run.path, TINY) as processes:
        assert wait_for_end(processes) == {"dreamer": 0}
    told = capfd.readouterr().err
    assert "policy_000006.safetensors is gone: it is written again" in told
    assert "dropped a message of policy_version: policy version 6 in" in told
    assert final_state(run)[1]["step"] == 120
