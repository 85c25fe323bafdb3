"""Copies of the environment that fail or end: one line, a checkpoint, no process left, and no hang."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.training.session import Session
from test.faulty import Slow

OPTIONS = {
    "steps": 100,
    "envs": 2,
    "learn_after": 10,
    "batch": 4,
    "warmup": 10,
    "hidden": 8,
    "policy_every": 10,
    "checkpoint_every": 0,
    "evaluate_every": 0,
}
FAULTS = {  # what is told, and the training steps that are kept
    "step": ("step() of Faulty fails: RuntimeError: motor 3 is hot", 28),
    "odd": ("step() of Faulty fails: Odd: odd", 28),
    "exit": ("step() of Faulty fails: SystemExit: 3", 28),
    "end": ("the process of copy 1 of test.faulty:Faulty has ended (exit code 3)", 28),
    "kill": ("has ended (SIGKILL; if nobody did it: memory ran out)", 28),
    "nan": ("the reward of step 29 is nan in Faulty: check the environment", 28),
    "shape": ("observation has shape (3,), the policy was made for (2,)", 28),
    "reset": ("reset() of Faulty fails: OSError: port gone", 28),
    "made": ("'test.faulty:Faulty' cannot be made: RuntimeError: port busy", None),
    "close": ("close() of Faulty fails: RuntimeError: port is stuck", 100),
}


def start(path, kind):
    env = "test.faulty:Faulty"
    return Run.create(path, resolve("dqn", env, OPTIONS | {"env_kwargs": f"{{kind: {kind}}}"}), env)


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_one_line_and_what_was_learned_is_kept(tmp_path, capfd, kind):
    run, (told, kept) = start(tmp_path / "run", kind), FAULTS[kind]
    with pytest.raises(UserError) as raised:
        train(run)
    line = str(raised.value)
    assert told in line and "\n" not in line
    printed = capfd.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert not multiprocessing.active_children()
    if kept is None:
        assert not run.checkpoints.all()
    else:
        assert run.newest().name.startswith(f"step_{kept:010d}")
    if kind in ("step", "odd", "exit", "reset", "made"):  # the environment's own line is in the log
        assert "traceback in" in line
        assert (
            f"in {kind if kind == 'reset' else '__init__' if kind == 'made' else 'step'}"
            in (run.path / "log.txt").read_text()
        )


@pytest.mark.parametrize("when", ["between rounds", "in a step"])
def test_processes_end_with_their_session(when):
    session = Session(Slow, 0, 100, envs=2)
    processes = multiprocessing.active_children()
    assert len(processes) == 2
    began = time.monotonic()
    if when == "in a step":
        for pipe in session._copies._copies.parent_pipes:  # as if interrupted while it waits for them
            pipe.send(("step", np.int64(1)))
        session._copies._broken = True
    session.close()
    assert not any(process.is_alive() for process in processes)
    assert time.monotonic() - began < 3


# a script without `if __name__ == "__main__"`, with an environment of its own
SCRIPT = """
import sys

import spiking_wm
from test.faulty import Faulty

class Mine(Faulty):
    def __init__(self):
        super().__init__("")

print("began", flush=True)
options = {"learn_after": 10**6, "evaluation_every": 0, "checkpoint_every": 0, "progress": False}
spiking_wm.train("dqn", Mine, envs=2, run=sys.argv[1], steps=10**6, **options)
print("ended", flush=True)
"""


@pytest.mark.parametrize("ends", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_all_processes_ends_the_run_cleanly(tmp_path, ends):
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, "script.py", "run"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until(lambda: (tmp_path / "run" / "policies").exists() and len(of_session(process.pid)) >= 4)
    if ends == signal.SIGKILL:
        process.kill()  # the others see that it is gone
    else:
        os.killpg(process.pid, ends)
    out, err = process.communicate(timeout=30)
    assert out.count("began") == 1 and "Traceback" not in err, err
    if ends != signal.SIGKILL:
        assert Run(tmp_path / "run").newest()
    until(lambda: not of_session(process.pid))


def until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def of_session(number: int) -> list[int]:
    """Processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == number and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found
