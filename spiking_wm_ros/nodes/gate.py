"""The safety gate on the robot, between the policy's actions and the actuators."""

import math
import sys
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from spiking_wm_msgs.msg import Action, Observation, Phase
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from spiking_wm.core.options import option
from spiking_wm.robots.description import load_robot
from spiking_wm.safety.gate import Gate
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.health import Health, spread
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.managed import ManagedNode
from spiking_wm_ros.nodes.messages import from_array, phase_name
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown
from spiking_wm_ros.nodes.robot_messages import check_messages, command_writer, message_type

_REMEMBERED = 10  # number of observations whose times are kept, to compute the age of actions
_RIVALS = "two policies send actions: end one of them"
_RIVALS_FOR = 0.5  # seconds after which one of two policies counts as ended


@dataclass(frozen=True)
class GateNodeOptions:
    """Parameters of the gate; its limits are in the robot's file."""

    robot: str = option("rover", "name of a file in config/robots, or path of one")


class GateNode(ManagedNode):
    """Forwards the policy's actions as commands while all checks pass, else commands the safe action.

    A command is sent as soon as its action arrives. Twice per control period the gate checks whether one is
    missing. All times are of the monotonic clock. The age of an action is measured from the time at which
    the gate received its observation.
    """

    def __init__(self):
        super().__init__("gate")
        self._robot = load_robot(declare(self, GateNodeOptions).robot)
        refuse_unknown(self)
        # a cleanup neither resumes a gate that has tripped, nor lets go of the emergency stop
        self._gate: Gate | None = None
        self._button = False

    def configure(self) -> None:
        """Command the safe action from here on."""
        robot = self._robot
        check_messages(robot)
        if self._gate is None:
            self._gate = Gate(robot.gate, robot.command.space, np.array(robot.command.rest))
        self._write = command_writer(robot)
        self._sensed: deque[tuple[tuple[int, int], float]] = deque(maxlen=_REMEMBERED)
        self._answered: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._rivals_at = -math.inf  # when two policies were heard last
        self._version = 0
        self._phase = Phase()
        self._reported, self._resting = "", False
        self._passed, self._trips = 0, 0
        self._passed_at, self._periods = 0.0, deque(maxlen=1000)

        command = robot.command
        self._commands = self.create_publisher(message_type(command.type), command.topic, qos.COMMAND)
        self._rests = self.create_publisher(Bool, "resting", qos.LATCHED)
        self.create_subscription(Observation, "observation", self._on_observation, qos.RECENT)
        self.create_subscription(Action, "action", self._on_action, qos.NEWEST)
        self.create_subscription(Bool, "emergency_stop", self._on_emergency_stop, 10)
        self.create_subscription(Phase, "phase", self._on_phase, qos.LATCHED_FROM_ALL)
        self.create_service(Trigger, "~/stop", self._on_stop)
        self.create_service(Trigger, "~/resume", self._on_resume)
        self.create_timer(robot.period / 2, self._look)
        self._health = Health(self, self._report)
        self._update()
        self.act_in_real_time()

    def activate(self) -> None:
        """Start to forward commands."""
        self._update()

    def deactivate(self) -> None:
        """Command the safe action from here on."""
        self._update()

    # --- commands ---

    def _on_observation(self, message: Observation) -> None:
        key = (message.episode, message.step)
        self._sensed.append((key, time.monotonic()))
        if key in self._answered:  # published again: it may be answered again
            self._answered.remove(key)

    def _on_action(self, message: Action) -> None:
        """Forward the action for an observation; ignore actions for unknown observations.

        One policy answers an observation once, as the robot publishes each once. A second answer is another
        policy's, and none can be trusted.
        """
        key = (message.episode, message.step)
        sensed_at = next((at for known, at in reversed(self._sensed) if known == key), None)
        if sensed_at is None:
            return
        if key in self._answered:
            self._rivals_at = time.monotonic()
            self._gate.fault(_RIVALS)
            self._put_out()
            return
        self._answered.append(key)
        self._version = message.policy_version
        try:
            action = from_array(message.action)
        except ValueError:  # shape and values disagree
            action = np.array(message.action.values)
        self._gate.command(self._robot.command.convert(action), sensed_at)
        if self._put_out():
            now = time.monotonic()
            self._periods.append(now - self._passed_at)
            self._passed, self._passed_at = self._passed + 1, now

    def _look(self) -> None:
        """Repeat the safe action while there is a reason for it."""
        if self._gate.output(time.monotonic()).reason:
            self._put_out()

    def _put_out(self) -> bool:
        """Send the current command; returns True if it is the policy's, False if it is the safe action."""
        output = self._gate.output(time.monotonic())
        self._commands.publish(self._write(output.action, self.get_clock().now()))
        self._report_change(output.reason)
        return not output.reason

    def _report_change(self, reason: str) -> None:
        if reason == self._reported:
            return
        self._reported = reason
        if self._gate.tripped:
            self._trips += 1
            self.get_logger().error(f"safe action: {reason}")
        self._health.publish()

    # --- emergency stop, phases ---

    def _on_emergency_stop(self, message: Bool) -> None:
        self._button = message.data
        self._update()

    def _on_phase(self, message: Phase) -> None:
        phase_name(message)  # an unknown one is dropped
        self._phase = message
        self._update()
        resting = message.phase != Phase.AWAKE
        if resting != self._resting:
            self._resting = resting
            self._rests.publish(Bool(data=resting))

    def _update(self) -> None:
        """Rest or stop if the phase, the emergency stop or the node's state require it."""
        if not self.active:
            self._gate.rest("inactive")
        elif self._phase.phase != Phase.AWAKE:
            self._gate.rest(f"{phase_name(self._phase)}: {self._phase.reason}")
        else:
            self._gate.end_rest()
        if self._button or self._phase.phase == Phase.STOPPED:
            self._gate.emergency_stop()
        else:
            self._gate.emergency_over()
        self._look()

    def _on_stop(self, _, response: Trigger.Response) -> Trigger.Response:
        self._gate.emergency_stop()
        self._put_out()
        self._update()  # the button is not pressed: the gate can be resumed, but stays tripped until then
        response.success, response.message = True, self._gate.reason
        return response

    def _on_resume(self, _, response: Trigger.Response) -> Trigger.Response:
        refusal = _RIVALS if time.monotonic() - self._rivals_at < _RIVALS_FOR else self._gate.resume()
        response.success, response.message = not refusal, refusal or self._gate.reason
        return response

    # --- health and end ---

    def _report(self) -> tuple[bytes, str, dict]:
        figures = {"commands": self._passed, "trips": self._trips, "policy_version": self._version}
        figures |= spread("period", self._periods)
        level = DiagnosticStatus.ERROR if self._gate.tripped else DiagnosticStatus.OK
        return level, self._reported or "passing commands", figures

    def release(self) -> None:
        """Command the safe action a last time."""
        self._gate.rest("the gate ends")
        self._put_out()


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros gate``."""
    sys.exit(run(GateNode))


if __name__ == "__main__":
    main()
