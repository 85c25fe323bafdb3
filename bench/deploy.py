"""Jitter of 50 Hz control of a simulated rover, without and with a dreamer at full load.

Run as ``./swm bench deploy``; ``SWM_BENCH_SECONDS`` is the length of each half (600). Driver, robot,
policy, gate and dreamer share the machine. Measured is the time between two commands on the actuator's
topic. Trips of the gate are counted, and the gate is resumed. ``stolen`` is the CPU time that the host of a
virtual machine took from it.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import rclpy
from _yardstick import gflops
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.action import ActionClient
from rich.console import Console
from rich.table import Table
from spiking_wm_msgs.action import Dream
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from spiking_wm.core.presets import resolve
from spiking_wm.core.process import act_in_real_time
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from spiking_wm_ros.nodes import qos

ENV, PERIOD = "Rover-v0", 0.02
SECONDS = float(os.environ.get("SWM_BENCH_SECONDS", "600"))


def stolen() -> float:
    """CPU seconds taken by the host of a virtual machine, over all cores; 0 if not reported."""
    return int(Path("/proc/stat").read_text().split()[8]) / os.sysconf("SC_CLK_TCK")


class Listener:
    """Subscribes to commands and to the diagnostics of the gate."""

    def __init__(self):
        rclpy.init()
        self.node = rclpy.create_node("listener")
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
            rclpy.spin_once(self.node, timeout_sec=0.1)
        return found

    def periods(self, seconds: float) -> np.ndarray:
        """Times between commands during a number of seconds."""
        del self.times[:]
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end, seconds + 10)
        return np.diff(self.times)


def main() -> None:
    """Measure both halves, print a table, and one JSON object as the last line."""
    os.environ.setdefault("ROS_DOMAIN_ID", "87")
    speed = gflops()
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        setup = resolve("popsan_dream", ENV, {"steps": 1200, "evaluate_every": 0, "dream_every": 0})
        train(Run.create(Path(folder) / "run", setup, ENV))
        given = {"robot": "rover", "policy": f"{folder}/run", "dream": "true", "simulated": "true"}
        # keep the battery full, so that the robot does not fall asleep
        with Processes(resolve_graph("deploy", given | {"capacity_j": "1e9"})):
            heard = Listener()
            act_in_real_time()
            heard.until(lambda: int(heard.figures.get("gate", {}).get("commands", 0)) > 100)
            heard.until(heard.dreams.server_is_ready)
            heard.until(lambda: heard.figures.get("dreamer", {}).get("can_dream") == "True")
            table = Table(
                "dreamer",
                "median",
                "p99",
                "max",
                "missed",
                "trips",
                "stolen, s",
                title=f"ms, {speed:.0f} GFLOP/s",
            )
            for name in ("idle", "dreaming"):
                stolen_before, trips_before = stolen(), int(heard.figures["gate"]["trips"])
                if name == "dreaming":
                    goal = heard.dreams.send_goal_async(Dream.Goal(seconds=10 * SECONDS))
                    heard.until(goal.done)
                    heard.until(lambda: heard.figures["dreamer"]["phase"] == "dreaming")
                periods = heard.periods(SECONDS)
                missed = max(0, round(SECONDS / PERIOD) - len(periods) - 1)
                heard.periods(1.1)  # newest diagnostics
                median, p99, longest = np.percentile(periods, (50, 99, 100)) * 1e3
                trips, taken = int(heard.figures["gate"]["trips"]) - trips_before, stolen() - stolen_before
                row = (*(f"{x:.2f}" for x in (median, p99, longest)), str(missed), str(trips), f"{taken:.2f}")
                table.add_row(name, *row)
                figures |= {f"{name}_median_ms": median, f"{name}_p99_ms": p99, f"{name}_max_ms": longest}
                figures |= {f"{name}_missed": missed, f"{name}_trips": trips, f"{name}_stolen_s": taken}
    Console(width=100).print(table)
    print(json.dumps({name: round(float(value), 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
