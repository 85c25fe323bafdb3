"""A rover that is deployed over real processes, and what one hears of it."""

import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from spiking_wm_ros.graph.parts import ResolvedGraph
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from spiking_wm_ros.nodes import qos
from test.ros.graph import client

T = 0.02  # control period of the rover, in seconds


class Watch:
    """What one hears of a deployed rover."""

    def __init__(self, made, processes: Processes, resolved: ResolvedGraph):
        self.made, self.processes, self.resolved = made, processes, resolved
        self.commands: list[tuple[float, list[float]]] = []
        self.status: dict[str, DiagnosticStatus] = defaultdict(DiagnosticStatus)  # empty if unheard
        on_command = lambda m: self.commands.append((time.monotonic(), list(m.data)))  # noqa: E731
        made.node.create_subscription(Float64MultiArray, "wheel_controller/commands", on_command, qos.COMMAND)
        made.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.joints = made.listen(JointState, "joint_states", qos.SENSOR)
        self.button = made.node.create_publisher(Bool, "emergency_stop", 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.status.update({status.name: status for status in message.status})

    def moves(self) -> bool:
        return bool(self.commands) and any(self.commands[-1][1])

    def figures(self, node: str) -> dict[str, str]:
        return {v.key: v.value for v in self.status[node].values}

    def wheels(self) -> float:
        """Speed of the faster wheel, rad/s; 0 before it is heard of."""
        return max(map(abs, self.joints[-1].velocity)) if self.joints else 0.0

    def until_it_moves(self, faster_than: float = -1.0) -> None:
        """On a crowded machine the gate may trip meanwhile, which is not what the tests that call it test."""

        def moves() -> bool:
            return self.moves() and self.wheels() > faster_than

        def stopped() -> bool:
            return "no command" in self.status["gate"].message or "is gone" in self.status["manager"].message

        for _ in range(20):
            self.made.until(lambda: moves() or stopped())
            if moves():
                return
            if "is gone" in self.status["manager"].message:  # it was not: it has not answered for seconds
                self.ask("manager/bring_up")  # refused if what was heard is old
                self.status.pop("manager")
                self.made.until(lambda: "are active" in self.status["manager"].message)
            self.ask("gate/resume")
            del self.status["gate"]
        raise AssertionError("the gate trips over and over")

    def drives(self) -> bool:
        """Whether it moves for 50 commands on end; on a crowded machine, once in three times."""
        for _ in range(3):
            self.until_it_moves()
            first = len(self.commands)
            self.made.until(lambda first=first: len(self.commands) > first + 50)
            if all(any(values) for _, values in self.commands[first:]):
                return True
        return False

    def stops_within(self) -> float:
        """Seconds until the next safe command."""
        began = time.monotonic()
        self.made.until(lambda: self.commands[-1][0] > began and not self.moves(), 10.0)
        return self.commands[-1][0] - began

    def stays(self, seconds: float = 0.5) -> bool:
        """Whether no command moves it for some time."""
        began = time.monotonic()
        self.made.until(lambda: time.monotonic() > began + seconds)
        heard = [values for at, values in self.commands if at > began]
        return bool(heard) and not np.any(heard)

    def ask(self, service: str) -> Trigger.Response:
        return self.made.call(Trigger, service)[0]


@contextmanager
def deployed(trained: Path, **given):
    arguments = {"robot": "rover", "policy": str(trained), "simulated": "true"}
    resolved = resolve_graph("deploy", arguments | given)
    with client() as made, Processes(resolved) as processes:
        yield Watch(made, processes, resolved)
