"""Converts a robot's sensor topics to one observation per control period."""

import sys
import time
from collections import deque
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.utilities import get_rmw_implementation_identifier
from spiking_wm_msgs.msg import Observation, Phase

from spiking_wm.core.options import option
from spiking_wm.robots.description import load_robot
from spiking_wm.robots.readings import Senses
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.health import Health, spread
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.managed import ManagedNode
from spiking_wm_ros.nodes.messages import phase_name, to_array
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown
from spiking_wm_ros.nodes.robot_messages import message_type
from spiking_wm_ros.nodes.simulated_time import SimulatedTime
from spiking_wm_ros.nodes.transport import why_others_are_not_heard

_PATIENCE = 5.0  # seconds after the start before a silent sensor is reported


@dataclass(frozen=True)
class RobotOptions:
    """Parameters of the robot node."""

    robot: str = option("rover", "name of a file in config/robots, or path of one")


class RobotNode(ManagedNode):
    """Publishes an observation in every control period in which no sensor has a fault.

    Control periods are of the steady clock. If the node uses simulated time, that has to run as fast.
    """

    def __init__(self):
        super().__init__("robot")
        self._robot = load_robot(declare(self, RobotOptions).robot)
        refuse_unknown(self)

    def configure(self) -> None:
        """Subscribe to the sensors."""
        self._senses, self._simulated = Senses(self._robot), SimulatedTime()
        self._fault, self._began = "", time.monotonic()
        self._awake, self._gap = True, True  # no observation was published in the last period
        self._episode, self._step = 0, 0
        self._sent_at, self._periods = 0.0, deque(maxlen=1000)

        self._observations = self.create_publisher(Observation, "observation", qos.OFFERED_NEWEST)
        self.create_subscription(Phase, "phase", self._on_phase, qos.LATCHED_FROM_ALL)
        for index, reading in enumerate(self._robot.observation):
            callback = lambda message, i=index: self._on_reading(i, message)  # noqa: E731
            self.create_subscription(message_type(reading.type), reading.topic, callback, qos.SENSOR)
        self.create_timer(self._robot.period, self._sense)
        self._health = Health(self, self._report)
        self.act_in_real_time()

    def _on_reading(self, index: int, message) -> None:
        self._senses.take(index, message, time.monotonic(), self._ros_time())

    def _ros_time(self) -> float:
        return self.get_clock().now().nanoseconds * 1e-9

    def _on_phase(self, message: Phase) -> None:
        self._awake = phase_name(message) == "awake"

    def _sense(self) -> None:
        now = time.monotonic()
        fault = self._found_fault(now)
        self._report_fault(fault, now)
        if fault or not self._awake or not self.active:
            self._gap = True
            return
        if self._gap:  # the policy's recurrent state is out of date
            self._episode += 1
        else:
            self._periods.append(now - self._sent_at)
        message = Observation(
            episode=self._episode,
            step=self._step,
            evaluation=True,
            episode_start=self._gap,
            observation=to_array(self._senses.observation()),
        )
        message.header.stamp = self.get_clock().now().to_msg()
        self._observations.publish(message)
        self._gap, self._sent_at, self._step = False, now, self._step + 1

    def _found_fault(self, now: float) -> str:
        """What is wrong with simulated time, or else with a sensor; empty if nothing is."""
        if not self.get_clock().ros_time_is_active:
            self._simulated = SimulatedTime()
            return self._senses.fault(now)
        return self._simulated.fault(now, self._ros_time()) or self._senses.fault(now)

    def _report_fault(self, fault: str, now: float) -> None:
        """Log the start and the end of a fault; diagnostics always contain it."""
        if fault and not self._step and now - self._began < _PATIENCE:
            return  # sensors may still be starting
        before, self._fault = self._fault, f"{fault}{self._why_unheard()}" if fault else ""
        if fault and not before:
            self.get_logger().error(f"no observation, the robot rests: {self._fault}")
        elif before and not fault:
            self.get_logger().info("sensors and clock are in order again")
        if bool(fault) != bool(before):
            self._health.publish()

    def _why_unheard(self) -> str:
        """What explains that there are sensors of which nothing is known; empty if nothing does."""
        if all(self.count_publishers(reading.topic) for reading in self._senses.unheard()):
            return ""
        why = why_others_are_not_heard(get_rmw_implementation_identifier())
        return why and f"; {why}"

    def _report(self) -> tuple[bytes, str, dict]:
        figures = {"observations": self._step, "episode": self._episode}
        figures |= spread("period", self._periods)
        state = "inactive" if not self.active else "sensing" if self._awake else "resting"
        level = DiagnosticStatus.ERROR if self._fault else DiagnosticStatus.OK
        return level, self._fault or state, figures


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros robot``."""
    sys.exit(run(RobotNode))


if __name__ == "__main__":
    main()
