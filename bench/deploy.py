"""Jitter of the control of a simulated rover, without and with a dreamer at full load.

Run as ``./swm bench deploy``; ``SWM_BENCH_HZ`` is the rate of control (50, 100 or 200), ``SWM_BENCH_SECONDS``
the length of each half (600). Driver, robot, policy, gate and dreamer share the machine. Measured is the time
between two commands on the actuator's topic. ``late`` are those of more than 1.2 control periods; the
histogram counts all by control periods. Trips of the gate are counted, and the gate is resumed. ``stolen`` is
the CPU time that the host of a virtual machine took from it. The first row is of a loop that only sleeps,
for a tenth of the time, before the rest is started: what the machine itself delays.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rclpy
import yaml
from _yardstick import gflops
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from fast_rover import HZ
from rclpy.action import ActionClient
from rclpy.experimental import EventsExecutor
from rich.console import Console
from rich.table import Table
from spiking_wm_msgs.action import Dream
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from spiking_wm.core.data import data_folder
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import act_in_real_time
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm_ros.graph.processes import END_WITH_PARENT, Processes
from spiking_wm_ros.graph.specification import resolve_graph
from spiking_wm_ros.nodes import qos

ENV, PERIOD = "bench.fast_rover:rover", 1 / HZ
EDGES = (0, 0.5, 0.8, 1.2, 1.5, 2, 3, 5, np.inf)  # of the histogram, in control periods
SECONDS = float(os.environ.get("SWM_BENCH_SECONDS", "600"))


def stolen() -> float:
    """CPU seconds taken by the host of a virtual machine, over all cores; 0 if not reported."""
    return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


def description(folder: str) -> str:
    """Path of the rover's description at this rate; its driver is started apart."""
    described = yaml.safe_load((data_folder("config") / "robots" / "rover.yaml").read_text())
    del described["driver"]
    described |= {"period": PERIOD, "gate": described["gate"] | {"max_age": 2 * PERIOD}}
    path = Path(folder) / "rover.yaml"
    path.write_text(yaml.safe_dump(described))
    return str(path)


@contextmanager
def driver() -> Iterator[None]:
    """The simulated driver at this rate, with a battery that stays full: the robot must not fall asleep."""
    command = (sys.executable, "-m", "bench.fast_rover", "--ros-args", "-p", "capacity_j:=1000000000.0")
    with subprocess.Popen((*END_WITH_PARENT, *command), cwd=Path(__file__).parents[1]) as process:
        try:
            yield
        finally:
            process.terminate()


def bare_periods(seconds: float) -> np.ndarray:
    """Periods of a loop that sleeps until the next one, with real-time priority as the nodes have."""
    act_in_real_time()
    times = [time.monotonic()]
    while times[-1] < times[0] + seconds:
        time.sleep(max(0.0, times[0] + len(times) * PERIOD - time.monotonic()))
        times.append(time.monotonic())
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return np.diff(times)


class Figures:
    """Collects what was measured.

    Args:
        speed: of the machine, in GFLOP/s.
    """

    def __init__(self, speed: float):
        names = ("dreamer", "median", "p99", "max", "late", "missed", "trips", "stolen, s")
        self._table = Table(*names, title=f"{HZ} Hz, ms, {speed:.0f} GFLOP/s")
        self._histogram: dict[str, np.ndarray] = {}
        self._figures: dict[str, float] = {}

    def add(self, name: str, periods: np.ndarray, stolen_s: float, **counted: int) -> None:
        """Periods in seconds, and what was counted meanwhile."""
        median, p99, longest = np.percentile(periods, (50, 99, 100)) * 1e3
        times = {"median_ms": median, "p99_ms": p99, "max_ms": longest}
        late = float((periods > 1.2 * PERIOD).mean())
        figures = times | {"late": late} | counted | {"stolen_s": stolen_s}
        self._figures |= {f"{name}_{figure}": value for figure, value in figures.items()}
        shown = [*(f"{value:.2f}" for value in times.values()), f"{late:.2%}"]
        shown += [str(counted.get(what, "")) for what in ("missed", "trips")]
        self._table.add_row(name, *shown, f"{stolen_s:.2f}")
        self._histogram[name] = np.histogram(periods / PERIOD, EDGES)[0]

    def print(self) -> None:
        """Print tables, and one JSON object as the last line."""
        histogram = Table("control periods", *self._histogram, title="number of commands")
        for low, high, *counts in zip(EDGES, EDGES[1:], *self._histogram.values()):
            histogram.add_row(f"{low:g} to {high:g}", *map(str, counts))
        console = Console(width=100)
        console.print(self._table)
        console.print(histogram)
        print(json.dumps({name: round(float(value), 3) for name, value in self._figures.items()}))


class Listener:
    """Subscribes to commands and to the diagnostics of the gate."""

    def __init__(self):
        rclpy.init()
        self.node = rclpy.create_node("listener")
        self._executor = EventsExecutor()
        self._executor.add_node(self.node)
        self.times: list[float] = []
        self.figures: dict[str, dict[str, str]] = {}
        self.node.create_subscription(
            Float64MultiArray,
            "wheel_controller/commands",
            lambda _: self.times.append(time.monotonic()),
            qos.COMMAND,
        )
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.dreams = ActionClient(self.node, Dream, "dreamer/dream_phase")
        self._resume = self.node.create_client(Trigger, "gate/resume")
        self._resumed_at = 0.0

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.figures[status.name] = {v.key: v.value for v in status.values}
            tripped = status.name == "gate" and status.level == DiagnosticStatus.ERROR
            if tripped and time.monotonic() > self._resumed_at + 1:  # counted once per trip
                self._resumed_at = time.monotonic()
                self._resume.call_async(Trigger.Request())

    def until(self, condition, seconds: float = 120.0):
        """Spin until a condition is true."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds} s")
            self._executor.spin_once(timeout_sec=0.1)
        return found

    def periods(self, seconds: float) -> np.ndarray:
        """Times between commands during a number of seconds."""
        del self.times[:]
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end, seconds + 10)
        return np.diff(self.times)


def main() -> None:
    """Measure both halves, print tables, and one JSON object as the last line."""
    os.environ.setdefault("ROS_DOMAIN_ID", "87")
    figures = Figures(gflops())
    before = stolen()
    figures.add("bare", bare_periods(SECONDS / 10), stolen() - before)
    with tempfile.TemporaryDirectory() as folder:
        short = {"steps": 1200, "warmup": 1000, "learn_after": 1000, "evaluate_every": 0, "dream_every": 0}
        setup = resolve("popsan_dream", ENV, short)
        train(Run.create(Path(folder) / "run", setup, ENV))
        given = {"robot": description(folder), "policy": f"{folder}/run", "dream": "true"}
        with driver(), Processes(resolve_graph("deploy", given)):
            heard = Listener()
            act_in_real_time()
            heard.until(lambda: int(heard.figures.get("gate", {}).get("commands", 0)) > 100)
            heard.until(heard.dreams.server_is_ready)
            heard.until(lambda: heard.figures.get("dreamer", {}).get("can_dream") == "True")
            for name in ("idle", "dreaming"):
                if name == "dreaming":
                    goal = heard.dreams.send_goal_async(Dream.Goal(seconds=10 * SECONDS))
                    heard.until(goal.done)
                    heard.until(lambda: heard.figures["dreamer"]["phase"] == "dreaming")
                before, trips_before = stolen(), int(heard.figures["gate"]["trips"])
                periods = heard.periods(SECONDS)
                taken = stolen() - before
                heard.periods(1.1)  # newest diagnostics
                missed = max(0, round(SECONDS / PERIOD) - len(periods) - 1)
                trips = int(heard.figures["gate"]["trips"]) - trips_before
                figures.add(name, periods, taken, missed=missed, trips=trips)
    figures.print()


if __name__ == "__main__":
    main()
