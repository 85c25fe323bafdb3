"""Message types by name, and a robot's command as its message."""

import array
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from rclpy.duration import Duration
from rclpy.time import Time
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from spiking_wm.core.errors import UserError
from spiking_wm.robots.description import Command, Reading, Robot
from spiking_wm_ros.nodes.bad_messages import BadMessage

_DERIVED = {"polar": "point", "charging": "power_supply_status"}  # the field that they are derived from


def message_type(name: str) -> type:
    """The class of ``package/Message``.

    Raises:
        UserError: if there is none.
    """
    package, _, message = name.replace("/msg/", "/").partition("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), message)
    except (ImportError, AttributeError, ValueError):
        raise UserError(
            f"there is no message type '{name}': give package/Message, as sensor_msgs/Imu"
        ) from None


def check_messages(robot: Robot) -> None:
    """Check that all message types and fields of a robot exist.

    Raises:
        UserError: for one that does not exist; the message names the reading or the command.
    """
    for reading in robot.observation:
        _check_field(robot, reading)
    if robot.command.type not in _WRITERS:
        known = ", ".join(_WRITERS)
        raise UserError(f"robot:={robot.name}: command type '{robot.command.type}' is not one of {known}")
    _WRITERS[robot.command.type](robot.command, robot.period)(np.zeros(len(robot.command.names)), Time())


def _check_field(robot: Robot, reading: Reading) -> None:
    found: Any = message_type(reading.type)()
    for name in _DERIVED.get(reading.field, reading.field).split("."):
        if not hasattr(found, name):
            raise UserError(
                f"robot:={robot.name}: {reading.type} of {reading.topic} has no '{reading.field}'"
            )
        found = getattr(found, name)


def command_writer(robot: Robot) -> Callable[[np.ndarray, Time], Any]:
    """A function that makes the command's message from values and the current time."""
    return _WRITERS[robot.command.type](robot.command, robot.period)


def command_values(robot: Robot, message: Any) -> list[float]:
    """Values of a message of `command_writer`.

    Raises:
        BadMessage: if it is a trajectory without points.
    """
    if robot.command.type == "geometry_msgs/TwistStamped":
        parts = (name.split(".") for name in robot.command.fields)
        return [getattr(getattr(message.twist, part), axis) for part, axis in parts]
    if not hasattr(message, "points"):
        return list(message.data)
    if not message.points:
        raise BadMessage("a trajectory without points")
    return list(message.points[-1].positions)


def _multi_array(command: Command, period: float) -> Callable:
    return lambda values, now: Float64MultiArray(data=array.array("d", values))


def _trajectory(command: Command, period: float) -> Callable:
    def write(values: np.ndarray, now: Time) -> JointTrajectory:
        # a stamp of zero: to be followed from when it arrives
        point = JointTrajectoryPoint(
            positions=array.array("d", values), time_from_start=Duration(seconds=period).to_msg()
        )
        return JointTrajectory(joint_names=list(command.joints), points=[point])

    return write


def _twist(command: Command, period: float) -> Callable:
    def write(values: np.ndarray, now: Time) -> TwistStamped:
        message = TwistStamped()
        message.header.stamp = now.to_msg()
        for name, value in zip(command.fields, values):
            part, _, axis = name.partition(".")
            if part not in ("linear", "angular") or axis not in ("x", "y", "z"):
                raise UserError(f"command field '{name}' is none of a twist: as linear.x or angular.z")
            setattr(getattr(message.twist, part), axis, float(value))
        return message

    return write


_WRITERS = {
    "std_msgs/Float64MultiArray": _multi_array,
    "trajectory_msgs/JointTrajectory": _trajectory,
    "geometry_msgs/TwistStamped": _twist,
}
