"""Check that the ROS 2 at hand can run the nodes, without importing it."""

from importlib.util import find_spec
from pathlib import Path

from spiking_wm.core.errors import UserError

OLDEST_RCLPY = "7.1.5"  # of Jazzy: older ones have no events executor


def check_ros() -> None:
    """Check that rclpy is there and new enough, and the package of messages.

    Raises:
        UserError: if one is missing, with what to do.
    """
    rclpy = find_spec("rclpy")
    if rclpy is None or rclpy.origin is None:
        raise UserError(
            "Python finds no rclpy: source a ROS 2 first (source /opt/ros/jazzy/setup.bash), or use ./swm"
        )
    if not (Path(rclpy.origin).parent / "experimental" / "events_executor.py").is_file():
        raise UserError(
            f"rclpy in {Path(rclpy.origin).parent} is too old, {OLDEST_RCLPY} or newer is needed: upgrade ROS"
            " (apt upgrade), to Jazzy or newer"
        )
    if find_spec("spiking_wm_msgs") is None:
        raise UserError("spiking_wm_msgs is not found: colcon build, then source install/setup.bash")
