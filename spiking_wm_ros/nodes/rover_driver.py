"""Driver of a rover simulated by MuJoCo, with the topics of ``config/robots/rover.yaml``.

It uses standard messages only, like the driver of a real robot.
"""

import math
import sys
import time
from dataclasses import dataclass
from functools import cache

import numpy as np
from geometry_msgs.msg import PointStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import BatteryState, Imu, JointState, LaserScan
from std_msgs.msg import Float64MultiArray

from spiking_wm.core.options import option
from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.envs.camera import Camera
from spiking_wm.envs.rover import Rover
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.bad_messages import BadMessage
from spiking_wm_ros.nodes.camera import CameraPublisher
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.messages import to_battery_state
from spiking_wm_ros.nodes.node import Node
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown

_MAX_SPEED = 12.0  # rad/s
_BATTERY_EVERY = 0.5  # seconds


@dataclass(frozen=True)
class DriverOptions:
    """Parameters of the driver."""

    seed: int = option(0, "seed of start direction and beacons", 0, 2**31 - 1)
    timeout: float = option(0.1, "seconds without a command after which the wheels stop", 1e-3)


class RoverDriver(Node):
    """A rover that follows commanded wheel speeds, and stops if no command arrives in time."""

    def __init__(self):
        super().__init__("rover_driver")
        self._options = declare(self, DriverOptions)
        battery = declare(self, BatteryOptions)
        refuse_unknown(self)
        self._rover = Rover(battery)
        self._rover.reset(seed=self._options.seed)
        self._speeds, self._commanded_at = np.zeros(2), -math.inf
        self._steps = 0

        make = self.create_publisher
        self._scans, self._imus = (
            make(LaserScan, "scan", qos.OFFERED_SENSOR),
            make(Imu, "imu", qos.OFFERED_SENSOR),
        )
        self._odometry = make(Odometry, "odom", qos.OFFERED_SENSOR)
        self._joints = make(JointState, "joint_states", qos.OFFERED_SENSOR)
        self._batteries = make(BatteryState, "battery_state", qos.OFFERED_SENSOR)
        self._beacons = make(PointStamped, "beacon", qos.OFFERED_SENSOR)
        self._docks = make(PointStamped, "dock", qos.OFFERED_SENSOR)
        self.create_subscription(
            Float64MultiArray, "wheel_controller/commands", self._on_command, qos.COMMAND
        )
        self._camera = CameraPublisher(self, cache(lambda: Camera(self._rover)))
        self.create_timer(self._rover.dt, self._step)
        self.act_in_real_time()  # as hardware does

    def _on_command(self, message: Float64MultiArray) -> None:
        speeds = np.array(message.data)
        if speeds.shape != (2,) or not np.isfinite(speeds).all():
            raise BadMessage(f"wheel speeds {speeds}")
        self._speeds, self._commanded_at = speeds, time.monotonic()

    def _step(self) -> None:
        """One control period of the hardware."""
        in_time = time.monotonic() - self._commanded_at <= self._options.timeout
        speeds = self._speeds if in_time and self._rover.battery.energy_j else np.zeros(2)
        self._publish(self._rover.step(speeds / _MAX_SPEED)[0])
        self._steps += 1

    def close(self) -> None:
        """End the camera."""
        self._camera.close()

    def _publish(self, seen: np.ndarray) -> None:
        """Publish the rover's measurements; ``seen`` is an observation of `spiking_wm.envs.rover`."""
        stamp = self.get_clock().now().to_msg()
        scan = LaserScan(angle_min=-math.pi / 2, angle_max=math.pi / 2, angle_increment=math.pi / 6)
        scan.range_max, scan.ranges = 3.0, [r if r < 3 else math.inf for r in seen[:7]]  # REP-117
        imu, odometry = Imu(), Odometry(child_frame_id="base_link")
        imu.angular_velocity.z = odometry.twist.twist.angular.z = seen[7]
        odometry.twist.twist.linear.x = seen[8]
        pose = odometry.pose.pose
        pose.position.x, pose.position.y, pose.position.z = self._rover.data.qpos[:3]
        q = pose.orientation
        q.w, q.x, q.y, q.z = self._rover.data.qpos[3:7]
        # a driver names its joints in its own order
        joints = JointState(name=["right", "left"], velocity=[seen[10], seen[9]])
        sent = [
            (self._scans, scan, "base_link"),
            (self._imus, imu, "base_link"),
            (self._odometry, odometry, "odom"),
            (self._joints, joints, ""),
            (self._beacons, _point(seen[11:14]), "base_link"),
            (self._docks, _point(seen[14:17]), "base_link"),
        ]
        for publisher, message, frame in sent:
            message.header.stamp, message.header.frame_id = stamp, frame
            publisher.publish(message)
        if self._steps % round(_BATTERY_EVERY / self._rover.dt) == 0:
            battery = to_battery_state(self._rover.battery.percentage, self._rover.docked, 0.0)
            battery.header.stamp = stamp
            self._batteries.publish(battery)


def _point(polar: np.ndarray) -> PointStamped:
    distance, sine, cosine = polar
    message = PointStamped()
    message.point.x, message.point.y = distance * cosine, distance * sine
    return message


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros rover_driver``."""
    sys.exit(run(RoverDriver))


if __name__ == "__main__":
    main()
