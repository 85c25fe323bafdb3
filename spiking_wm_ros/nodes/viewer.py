"""Serves a web page on this machine that shows the graph; its buttons call the graph's services."""

import os
import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition as Lifecycle
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import BatteryState, CompressedImage
from spiking_wm_msgs.msg import Decision, Phase, PolicyVersion, Segment
from std_srvs.srv import Trigger

from spiking_wm.core.extras import missing_extra
from spiking_wm.core.options import option
from spiking_wm.robots.description import load_robot
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.bad_messages import BadMessage
from spiking_wm_ros.nodes.health import Health
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.messages import from_array, phase_name, spike_trains
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown
from spiking_wm_ros.nodes.polled_subscriptions import PolledSubscriptions, take_new
from spiking_wm_ros.nodes.robot_messages import command_values, message_type
from spiking_wm_ros.viewer.watched import Watched

_NICENESS = 10  # observers must not slow down nodes that act
_COMMANDS_EVERY = 0.1  # seconds between two commands that are shown
# services of each button: all available ones of the first group that has any are called
_CALLS = {
    "dream now": (("scheduler/sleep",), ("dreamer/dream",)),
    "wake": (("scheduler/wake",), ("dreamer/end_dream",)),
    "save": (("dreamer/save_checkpoint",),),
    "emergency stop": (("scheduler/stop", "gate/stop"), ("bridge/change_state",)),
    "resume": (("scheduler/resume", "gate/resume"), ("manager/bring_up",)),
}
_IN_TURN = "resume"  # one service after the other: the gate refuses while the phase is STOPPED
_PROPAGATION = 0.2  # seconds between them, until the other nodes know of a change


@dataclass(frozen=True)
class ViewerOptions:
    """Parameters of the viewer."""

    port: int = option(8642, "port of the page on 127.0.0.1; 0: any free one", 0, 65535)
    robot: str = option("", "robot whose commands are shown: name of a file in config/robots, or path of one")


class ViewerNode(Node):
    """Subscribes to the graph's topics, shows them, and calls its services."""

    def __init__(self):
        super().__init__("viewer")
        os.nice(_NICENESS)
        self.options = declare(self, ViewerOptions)
        refuse_unknown(self)
        with missing_extra():
            from spiking_wm_ros.viewer.page import page
            from spiking_wm_ros.viewer.server import Server
        self._watched = Watched()
        self._visitors: set[str] = set()
        self._answers: dict[str, str] = {}  # to the last button, by service
        self._for_visitors: dict[str, Any] = {}  # subscriptions that exist only while there are visitors
        # made at the start: a client must have discovered its server before a button is pressed
        self._callers = {name: self._caller(name) for groups in _CALLS.values() for name in sum(groups, ())}
        self._robot = load_robot(self.options.robot) if self.options.robot else None
        self._listen()
        buttons = {label: partial(self.call_soon, partial(self._press, label)) for label in _CALLS}
        build = page(self._watched, buttons, partial(self._visit, True), partial(self._visit, False))
        self._server = Server(self.options.port, f"spiking_wm_ros {self.get_namespace()}", build)
        self.get_logger().info(f"page: {self._server.address}")
        Health(self, self._report)

    def _listen(self) -> None:
        hear, watched = self.create_subscription, self._watched
        hear(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        hear(Phase, "phase", lambda m: watched.phase(phase_name(m), m.reason), qos.LATCHED_FROM_ALL)
        hear(BatteryState, "battery_state", lambda m: watched.charge(m.percentage), qos.SENSOR)
        hear(PolicyVersion, "policy_version", self._on_version, qos.LATCHED_FROM_ALL)
        self._polled = PolledSubscriptions(self)
        if self._robot:
            command = self._robot.command
            heard = self._polled.subscribe(message_type(command.type), command.topic, qos.NEWEST)
            take = self.dropped.handling(command.topic, self._on_command)
            self.create_timer(_COMMANDS_EVERY, lambda: [take(new.message) for new in take_new(heard)])

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        namespace = self.get_namespace().strip("/")
        for status in message.status:
            where, _, name = status.name.rpartition("/")
            if where == namespace:
                figures = {value.key: value.value for value in status.values}
                try:
                    self._watched.health(name, int.from_bytes(status.level), status.message, figures)
                except (ValueError, OverflowError) as error:  # figures that are no numbers
                    raise BadMessage(f"figures of {name}: {error}") from None

    def _on_version(self, message: PolicyVersion) -> None:
        self._watched.policy_version = message.version

    def _on_command(self, message: Any) -> None:
        self._watched.command(command_values(self._robot, message))

    # --- for visitors ---

    def _visit(self, here: bool, name: str) -> None:  # in the server's thread
        self.call_soon(partial(self._on_visit, here, name))

    def _on_visit(self, here: bool, name: str) -> None:
        """Subscribe to costly topics only while the page has visitors."""
        (self._visitors.add if here else self._visitors.discard)(name)
        if self._visitors and not self._for_visitors:
            hear = self.create_subscription
            self._for_visitors = {
                "decision": hear(Decision, "decision", self._on_decision, qos.NEWEST),
                "segment": hear(Segment, "segment", self._on_segment, qos.NEWEST),
                "camera": hear(CompressedImage, "camera/image_raw/compressed", self._on_picture, qos.NEWEST),
            }
        elif not self._visitors:
            for subscription in self._for_visitors.values():
                self.destroy_subscription(subscription)
            self._for_visitors = {}

    def _on_decision(self, message: Decision) -> None:
        values = from_array(message.action)
        self._watched.action((self._robot.command.convert(values) if self._robot else values).ravel())
        self._watched.fired(spike_trains(message))

    def _on_segment(self, message: Segment) -> None:
        real = from_array(message.real)
        segment = {"real": real, "dream": from_array(message.dream, shape=real.shape)}
        if len(message.uncertainty.shape):
            segment["uncertainty"] = from_array(message.uncertainty)
        self._watched.segment = segment

    def _on_picture(self, message: CompressedImage) -> None:
        self._watched.picture = bytes(message.data)

    # --- buttons ---

    def _press(self, label: str) -> None:
        for group in _CALLS[label]:
            there = [name for name in group if self._callers[name].service_is_ready()]
            if there:
                self._answers = {}
                first, *later = [[name] for name in there] if label == _IN_TURN else [there]
                self._call(label, first, later)
                return
        self._watched.said = f"{label}: no node here does that ({' or '.join(sum(_CALLS[label], ()))})"

    def _caller(self, name: str) -> Any:
        return self.create_client(ChangeState if name.endswith("change_state") else Trigger, name)

    def _call(self, label: str, names: list[str], later: list[list[str]]) -> None:
        """Call services; when they have answered, call ``later`` ones."""
        for name in names:
            caller = self._callers[name]
            request = caller.srv_type.Request()
            if isinstance(request, ChangeState.Request):
                request.transition.id = Lifecycle.TRANSITION_DEACTIVATE
            self._tell(label, name, "… (asked)")
            caller.call_async(request).add_done_callback(partial(self._on_answer, label, name, later))

    def _on_answer(self, label: str, name: str, later: list[list[str]], answer) -> None:
        response = answer.result()
        self._tell(
            label, name, getattr(response, "message", "") or ("done" if response.success else "refused")
        )
        if later:

            def call() -> None:
                self.destroy_timer(timer)
                self._call(label, later[0], later[1:])

            timer = self.create_timer(_PROPAGATION, call)

    def _tell(self, label: str, name: str, answer: str) -> None:
        self._answers[name] = answer
        self._watched.said = f"{label}: " + "; ".join(f"{n} says {a}" for n, a in self._answers.items())

    # --- health and end ---

    def _report(self) -> tuple[bytes, str, dict]:
        figures = {"address": self._server.address, "visitors": len(self._visitors)}
        return DiagnosticStatus.OK, f"page: {self._server.address}", figures

    def close(self) -> None:
        """End the server."""
        self._server.close()
        self._polled.close()


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros viewer``."""
    sys.exit(run(ViewerNode))


if __name__ == "__main__":
    main()
