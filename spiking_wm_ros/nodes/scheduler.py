"""The scheduler node: publishes the robot's phase, and starts and ends dreams."""

import sys
import time
from functools import partial

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.action import ActionClient
from sensor_msgs.msg import BatteryState
from spiking_wm_msgs.action import Dream
from spiking_wm_msgs.msg import Phase as PhaseMessage
from std_msgs.msg import Bool, Empty
from std_srvs.srv import Trigger

from spiking_wm.energy.phases import Decision, DreamBounds, Phase, PhaseOptions, Scheduler
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.health import Health
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown

_TICK = 0.1  # seconds
_SILENT = 60.0  # seconds without feedback after which a dream counts as lost


class SchedulerNode(Node):
    """Publishes the robot's phase, and sends the dreamer a goal once the robot is at rest."""

    def __init__(self):
        super().__init__("scheduler")
        self._scheduler = Scheduler(declare(self, PhaseOptions, self._on_options), time.monotonic())
        self._bounds = declare(self, DreamBounds, self._on_bounds)
        refuse_unknown(self)
        self._published: Decision | None = None
        self._changes = 0
        self._resting = False
        self._charge = float("nan")
        self._request: object | None = None  # identifies the goal that is being sent or under way
        self._heard = 0.0  # time of its last feedback
        self._goal = None

        self._phases = self.create_publisher(PhaseMessage, "phase", qos.LATCHED)
        self.create_subscription(BatteryState, "battery_state", self._on_battery, qos.SENSOR)
        self.create_subscription(Bool, "resting", self._on_resting, qos.LATCHED_FROM_ALL)
        self.create_subscription(Bool, "emergency_stop", self._on_emergency_stop, 10)
        self.create_subscription(Empty, "work", lambda _: self._scheduler.worked(time.monotonic()), 10)
        for name in ("sleep", "wake", "stop", "resume"):
            self.create_service(Trigger, f"~/{name}", getattr(self, f"_on_{name}"))
        self._dreams = ActionClient(self, Dream, "dreamer/dream_phase")
        self.create_timer(_TICK, self._tick)
        Health(self, self._report)

    def _on_options(self, options: PhaseOptions) -> None:
        self._scheduler.options = options

    def _on_bounds(self, bounds: DreamBounds) -> None:
        self._bounds = bounds

    # --- inputs ---

    def _on_battery(self, message: BatteryState) -> None:
        self._charge = message.percentage
        self._scheduler.battery(message.percentage, time.monotonic())

    def _on_resting(self, message: Bool) -> None:
        self._resting = message.data
        self._tick()

    def _on_emergency_stop(self, message: Bool) -> None:
        self._scheduler.button(message.data)
        self._follow()

    def _on_stop(self, _, response: Trigger.Response) -> Trigger.Response:
        self._scheduler.stop()
        return self._answer("", response)

    def _on_sleep(self, _, response: Trigger.Response) -> Trigger.Response:
        return self._answer(self._scheduler.sleep(time.monotonic()), response)

    def _on_wake(self, _, response: Trigger.Response) -> Trigger.Response:
        return self._answer(self._scheduler.wake(time.monotonic()), response)

    def _on_resume(self, _, response: Trigger.Response) -> Trigger.Response:
        return self._answer(self._scheduler.resume(time.monotonic()), response)

    def _answer(self, refusal: str, response: Trigger.Response) -> Trigger.Response:
        self._follow()
        response.success, response.message = not refusal, refusal or self._scheduler.decision.reason
        return response

    # --- outputs ---

    def _tick(self) -> None:
        now, there = time.monotonic(), self._dreams.server_is_ready()
        silent = now - self._heard > _SILENT  # the dreamer was restarted before its end was detected
        if self._request and (silent or not there):
            self._goal = self._request = None
            self._scheduler.dream_ended("the dreamer is gone", now)
        self._scheduler.can_dream = there
        self._scheduler.tick(now)
        self._follow()

    def _follow(self) -> None:
        """Publish a new phase, and start or end the dream that belongs to it."""
        decision = self._scheduler.decision
        if decision != self._published:
            self._changes += self._published is None or decision.phase is not self._published.phase
            self._published = decision
            message = PhaseMessage(phase=getattr(PhaseMessage, decision.phase.name), reason=decision.reason)
            message.header.stamp = self.get_clock().now().to_msg()
            self._phases.publish(message)
            self.get_logger().info(f"{decision.phase}: {decision.reason}")
        if decision.phase is Phase.DREAMING:
            if self._resting and not self._request:
                self._send_goal()
        elif self._goal is not None:
            goal, self._goal = self._goal, None
            goal.cancel_goal_async()

    def _send_goal(self) -> None:
        request = self._request = object()
        self._heard = time.monotonic()
        b = self._bounds
        goal = Dream.Goal(rollouts=b.rollouts, updates=b.updates, seconds=b.seconds, joules=b.joules)
        sent = self._dreams.send_goal_async(goal, feedback_callback=self._on_feedback)
        sent.add_done_callback(partial(self._on_goal, request))

    def _on_feedback(self, _) -> None:
        self._heard = time.monotonic()

    def _on_goal(self, request: object, future) -> None:
        goal = future.result()
        if request is not self._request:  # a goal that counts as lost
            goal.cancel_goal_async()
            return
        self._goal, self._heard = goal, time.monotonic()
        goal.get_result_async().add_done_callback(partial(self._on_result, request))
        self._follow()  # the phase may have changed

    def _on_result(self, request: object, future) -> None:
        if request is not self._request:
            return
        result = future.result().result
        self._goal = self._request = None
        dreamt = f"dreamt {result.rollouts} rollouts, {result.updates} updates"
        self._scheduler.dream_ended(result.message or dreamt, time.monotonic())
        self._follow()

    # --- health ---

    def _report(self) -> tuple[bytes, str, dict]:
        phase, reason = self._scheduler.decision
        level = DiagnosticStatus.WARN if phase is Phase.STOPPED else DiagnosticStatus.OK
        figures = {"phase": phase, "phase_changes": self._changes, "percentage": round(self._charge, 4)}
        return level, f"{phase}: {reason}", figures


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros scheduler``."""
    sys.exit(run(SchedulerNode))


if __name__ == "__main__":
    main()
