"""Effect of recording and viewing on control and on training.

Run as ``./swm bench viewing``; ``SWM_BENCH_SECONDS`` is the length of each turn (20). A simulated rover is
driven at 50 Hz, and a policy is trained in lock-step. In every second turn, on the same machine, a recorder
writes all topics, a viewer runs, and a headless browser (Debian's ``chromium``, if installed) shows its page.
Trips of the gate are printed, and the gate is resumed.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import rclpy
from _yardstick import gflops
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rich.console import Console
from rich.table import Table
from std_srvs.srv import Trigger

from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm_ros.graph.parts import NodeSpec, ResolvedGraph
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph

SECONDS = float(os.environ.get("SWM_BENCH_SECONDS", "20"))
TURNS, SETTLES, PORT = 4, 6.0, 8653  # turns of each kind; seconds for the start of observers; port
ENV = "InvertedPendulum-v5"
CHROMIUM = shutil.which("chromium")


@contextmanager
def observers(folder: str, robot: str):
    """Start a recorder, a viewer and a browser that shows its page."""
    recorder = NodeSpec("recorder", {"folder": tempfile.mkdtemp(dir=folder)})
    viewer = NodeSpec("viewer", {"port": PORT, "robot": robot})
    with ExitStack() as stack:
        stack.enter_context(Processes(ResolvedGraph([recorder, viewer], Path(folder))))
        if CHROMIUM:
            time.sleep(SETTLES / 2)  # time to start the page
            profile = f"--user-data-dir={tempfile.mkdtemp(dir=folder)}"
            options = (
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-port=0",
                profile,
            )
            browser = subprocess.Popen(
                [CHROMIUM, *options, f"http://127.0.0.1:{PORT}"], stderr=subprocess.DEVNULL
            )
            stack.callback(browser.wait)
            stack.callback(browser.terminate)
        yield


class Listener:
    """Subscribes to the diagnostics of the gate and to the step count of the bridge."""

    def __init__(self):
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node("listener", context=self._context)
        self._executor = rclpy.executors.SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self.gate: dict[str, str] = {}
        self._resumed_at = 0.0
        self._resume = self._node.create_client(Trigger, "gate/resume")
        self.steps: list[tuple[float, int]] = []
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            figures = {v.key: v.value for v in status.values}
            if status.name == "gate":
                self.gate = figures
                if status.level == DiagnosticStatus.ERROR and time.monotonic() > self._resumed_at + 1:
                    print(f"the gate tripped: {status.message}")  # printed, then resumed
                    self._resumed_at = time.monotonic()
                    self._resume.call_async(Trigger.Request())
            if status.name == "bridge" and "steps_applied" in figures:
                self.steps.append((time.monotonic(), int(figures["steps_applied"])))

    def listen(self, seconds: float) -> None:
        """Spin for a number of seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._executor.spin_once(timeout_sec=0.1)

    def until(self, condition) -> None:
        """Spin until a condition is true."""
        deadline = time.monotonic() + 120
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("the graph did not start")
            self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        """End the node."""
        self._executor.shutdown()
        self._node.destroy_node()
        rclpy.shutdown(context=self._context)


def control(listener: Listener) -> float:
    """99th percentile of the last 1,000 times between commands in milliseconds, as reported by the gate."""
    listener.listen(max(SECONDS, 22.0))
    return float(listener.gate["period_p99_ms"])


def speed(listener: Listener) -> float:
    """Training steps per second."""
    del listener.steps[:]
    listener.listen(SECONDS)
    (began, first), (ended, last) = listener.steps[0], listener.steps[-1]
    return (last - first) / (ended - began)


def in_turns(measure, listener: Listener, folder: str, robot: str = "") -> tuple[list[float], list[float]]:
    """Measurements without and with observers, in turns."""
    alone, watched = [], []
    for _ in range(TURNS):
        listener.listen(1.0)
        alone.append(measure(listener))
        with observers(folder, robot):
            listener.listen(SETTLES)
            watched.append(measure(listener))
    return alone, watched


def main() -> None:
    """Measure both, print a table, and one JSON object as the last line."""
    os.environ.setdefault("ROS_DOMAIN_ID", "88")
    gigaflops, listener = gflops(), None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        setup = resolve("popsan_dream", "Rover-v0", {"steps": 600, "evaluate_every": 0, "dream_every": 0})
        train(Run.create(Path(folder) / "run", setup, "Rover-v0"))
        given = {"robot": "rover", "policy": f"{folder}/run", "simulated": "true", "capacity_j": "1e9"}
        with Processes(resolve_graph("deploy", given)):
            listener = Listener()
            listener.until(lambda: int(listener.gate.get("commands", 0)) > 200)
            periods = in_turns(control, listener, folder, "rover")
            trips = int(listener.gate["trips"])
            listener.close()
        idle = {"evaluate_every": "0", "dream_every": "0", "checkpoint_every": "0", "env": ENV}
        training = idle | {
            "steps": "10000000",
            "learn_after": "200",
            "warmup": "200",
            "run": f"{folder}/trained",
        }
        with Processes(resolve_graph("train", training)):
            listener = Listener()
            listener.until(lambda: listener.steps and listener.steps[-1][1] > 1000)
            speeds = in_turns(speed, listener, folder)
            listener.close()
    table = Table(
        "turn", "p99 alone, ms", "watched, ms", "steps/s alone", "watched", title=f"{gigaflops:.0f} GFLOP/s"
    )
    for turn, row in enumerate(zip(*periods, *speeds)):
        table.add_row(str(turn + 1), *(f"{value:.2f}" for value in row))
    Console(width=100).print(table)
    medians = {
        name: float(np.median(values)) for name, values in zip(("p99_alone_ms", "p99_watched_ms"), periods)
    } | {name: float(np.median(values)) for name, values in zip(("steps_alone", "steps_watched"), speeds)}
    figures = medians | {
        "trips": trips,
        "p99_ratio": medians["p99_watched_ms"] / medians["p99_alone_ms"],
        "training_slowdown": medians["steps_alone"] / medians["steps_watched"] - 1,
        "browser": bool(CHROMIUM),
    }
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
