"""A robot of your own: describe it in a file, and see what a policy would observe and command.

Nothing here needs ROS. With it, the same file drives the robot:
``./swm deploy robot:=my_robot.yaml policy:=runs/NAME``.
"""

import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from spiking_wm.robots.description import load_robot
from spiking_wm.robots.readings import values_of

DESCRIPTION = """
period: 0.05                       # seconds between two commands
observation:                       # in the order that the policy sees it
  - {topic: odom, type: nav_msgs/Odometry, field: twist.twist.linear.x, unit: m/s}
  - {topic: joint_states, type: sensor_msgs/JointState, field: velocity, joints: [left, right], unit: rad/s}
command:
  topic: wheels/commands
  type: std_msgs/Float64MultiArray
  joints: [left, right]
  unit: rad/s
  scale: 10.0                      # an action of 1 is 10 rad/s
  low: [-10.0, -10.0]
  high: [10.0, 10.0]
gate: {max_age: 0.1, safe: zero}   # without a fresh command the wheels stop
"""


def main() -> None:
    """Read the description, make an observation of messages, and check commands."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "my_robot.yaml"
        file.write_text(DESCRIPTION)
        robot = load_robot(str(file))
    size = sum(reading.size for reading in robot.observation)
    print(f"{robot.name}: {size} observed values, commands {', '.join(robot.command.names)}")

    twist = SimpleNamespace(twist=SimpleNamespace(linear=SimpleNamespace(x=0.3)))
    messages = {
        "odom": SimpleNamespace(twist=twist),
        "joint_states": SimpleNamespace(name=["right", "left"], velocity=[3.1, 2.9]),
    }
    seen = np.concatenate([values_of(reading, messages[reading.topic]) for reading in robot.observation])
    print(f"observation {seen}")
    print(f"the action [1, -0.5] commands {robot.command.convert(np.array([1.0, -0.5]))} rad/s")


if __name__ == "__main__":
    main()
