"""What must not wear out. ``SWM_LONG=1`` runs it at full length, as the figures in the README were."""

import os
import time
from pathlib import Path

import pytest
from spiking_wm_msgs.msg import Phase

from test.ros.graph import client
from test.ros.test_graph import endless, start
from test.ros.test_sleep import Robot

LONG = bool(os.environ.get("SWM_LONG"))
CYCLES = 100 if LONG else 16


def processes_of(groups: set[int]) -> dict[int, dict[str, int]]:
    """Memory in kB, threads, files and shared-memory segments of all processes in some groups."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(path.name)) not in groups:
                continue
            status = dict(line.split(":", 1) for line in (path / "status").read_text().splitlines())
            if "VmRSS" not in status:  # a zombie
                continue
            found[int(path.name)] = {
                "memory": int(status["VmRSS"].split()[0]),
                "threads": int(status["Threads"]),
                "files": len(list((path / "fd").iterdir())),
                "segments": (path / "maps").read_text().count(" /dev/shm/"),
            }
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return found


def total(found: dict[int, dict[str, int]], what: str) -> int:
    return sum(process[what] for process in found.values())


@pytest.mark.long
def test_falling_asleep_and_waking_leaks_nothing(tmp_path, tiny):
    """By low battery, over and over: a virtual one that is empty after two seconds of acting."""
    battery = {
        "battery": "virtual",
        "capacity_j": 10,
        "charging_w": 20,
        "hold": 0.2,
        "sleep_below": 0.5,
        "wake_above": 0.8,
    }
    options = endless(tiny) | battery | {"evaluate_every": 0, "checkpoint_every": 0, "dream_every": 0}
    with client() as made, start(tmp_path, options) as processes:
        robot = Robot(made)
        groups = {child.pid for child in processes._children.values()}

        def dreams() -> int:
            phases = [message.phase for message in robot.phases]
            return sum(a == Phase.DREAMING and b == Phase.AWAKE for a, b in zip(phases, phases[1:]))

        began = time.monotonic()
        made.until(lambda: dreams() >= CYCLES // 2, 600.0)  # by then all that is allocated once has been
        first = processes_of(groups)
        made.until(lambda: dreams() >= CYCLES, 1200.0)
        last = processes_of(groups)
        spent = time.monotonic() - began
        figures = {what: (total(first, what), total(last, what)) for what in first[min(first)]}
        print(f"{dreams()} dreams in {spent:.0f} s:", figures)
        assert not processes.ended() and last.keys() == first.keys()  # no process more, none less
        assert total(last, "threads") <= total(first, "threads")
        assert total(last, "files") <= total(first, "files") + 2
        assert total(last, "segments") <= total(first, "segments")
        assert total(last, "memory") < 1.05 * total(first, "memory")
