"""Descriptions of robots, and what is read from their messages; no node runs here."""

import math

import numpy as np
import pytest
import yaml
from gymnasium.spaces import Box, Discrete
from rclpy.time import Time
from sensor_msgs.msg import BatteryState, Image, JointState, LaserScan

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import make_env
from spiking_wm.robots.description import Reading, load_robot, robots
from spiking_wm.robots.readings import ReadingError, Senses, values_of
from spiking_wm_ros.nodes.robot_messages import check_messages, command_writer

ARM = {
    "period": 0.05,
    "observation": [
        {
            "topic": "joint_states",
            "type": "sensor_msgs/JointState",
            "field": "position",
            "joints": ["shoulder", "elbow"],
            "unit": "rad",
        }
    ],
    "command": {
        "topic": "arm_controller/joint_trajectory",
        "type": "trajectory_msgs/JointTrajectory",
        "joints": ["shoulder", "elbow"],
        "unit": "rad",
        "scale": [1.5, 2.0],
        "offset": [0.0, 0.5],
        "low": [-1.5, -2.0],
        "high": [1.5, 2.5],
        "rest": [0.0, 1.0],
    },
    "gate": {"safe": "pose", "max_age": 0.1},
}
JOINTS = Reading("joint_states", "sensor_msgs/JointState", "velocity", "rad/s", joints=("left", "right"))


def written(path, **changes) -> str:
    file = path / "arm.yaml"
    file.write_text(yaml.safe_dump(ARM | changes))
    return str(file)


def arm_spaces(size=2, actions=2, period=0.05) -> Spaces:
    one = np.ones(actions, np.float32)
    return Spaces(Box(-10, 10, (size,)), Box(-one, one), period)


@pytest.mark.parametrize("name", robots())
def test_every_robot_of_the_package_is_in_order(name):
    check_messages(load_robot(name))


def test_the_rover_fits_policies_of_its_environment_alone():
    load_robot("rover").check_fits(Spaces.of(make_env("Rover-v0")))
    with pytest.raises(UserError, match="robot:=rover: it was trained at a period of 0.05 s, not 0.02 s"):
        load_robot("rover").check_fits(Spaces.of(make_env("HalfCheetah-v5")))


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        (arm_spaces(size=3), r"it observes \(3,\) values, the robot gives \(2,\)"),
        (arm_spaces(actions=1), "the robot takes 2 values"),
        (arm_spaces(period=0.02), "trained at a period of 0.02 s, not 0.05 s"),
        (arm_spaces()._replace(action=Discrete(2)), "its actions are Discrete"),
        (arm_spaces()._replace(action=Box(-2, 2, (2,))), "it commands shoulder from -3 to 3 rad"),
        (arm_spaces()._replace(observation=Box(0, 255, (8, 8, 1), np.uint8)), r"it observes \(8, 8, 1\)"),
    ],
)
def test_a_policy_of_other_spaces_is_refused(tmp_path, spaces, message):
    robot = load_robot(written(tmp_path))
    robot.check_fits(arm_spaces())
    with pytest.raises(UserError, match=message):
        robot.check_fits(spaces)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perod": 0.1}, "unknown key 'perod'; did you mean 'period'"),
        ({"period": "fast"}, "period is 'fast', not of type float"),
        ({"period": 0}, "period is 0 s, outside"),
        ({"observation": []}, "observation must be a list of readings"),
        ({"observation": [{"topic": "imu"}]}, "reading 0: 'type' is missing"),
        ({"observation": [ARM["observation"][0] | {"joint": ["a"]}]}, "unknown key 'joint'; did you mean"),
        ({"command": ARM["command"] | {"low": [0.0]}}, "command has 2 values but 1 of 'low'"),
        ({"command": ARM["command"] | {"low": [2.0, 2.0]}}, "every 'low' of command must be less"),
        ({"command": {**ARM["command"], "joints": []}}, "names neither joints nor fields"),
        ({"gate": {"max_aeg": 1}}, "unknown parameter 'max_aeg'"),
        ({"gate": {"safe": "jump"}}, "safe:=jump is not one of"),
    ],
)
def test_a_malformed_description_is_one_clear_error(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        load_robot(written(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "sensor_msgs/JointStat"}, "no message type 'sensor_msgs/JointStat'"),
        ({"type": "JointState"}, "no message type 'JointState'"),
        ({"field": "speed"}, "sensor_msgs/JointState of joint_states has no 'speed'"),
    ],
)
def test_messages_that_do_not_exist_are_refused(tmp_path, changes, message):
    robot = load_robot(written(tmp_path, observation=[ARM["observation"][0] | changes]))
    with pytest.raises(UserError, match=message):
        check_messages(robot)


def test_unknown_robots_are_listed(tmp_path):
    with pytest.raises(UserError, match="unknown robot 'rovr'; did you mean 'rover'"):
        load_robot("rovr")
    with pytest.raises(UserError, match="does not exist"):
        load_robot(str(tmp_path / "none.yaml"))


def test_joints_are_read_by_name_in_any_order():
    message = JointState(name=["right", "arm", "left"], velocity=[2.0, 9.0, 1.0])
    assert values_of(JOINTS, message).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (JointState(name=["left"], velocity=[1.0]), "joint 'right' is missing; it has left"),
        (JointState(name=["left", "right"]), "2 joints but 0 values of velocity"),
        (JointState(name=["left", "right"], velocity=[1.0, math.nan]), "value 1 of velocity is NaN"),
        (JointState(name=["left", "right"], velocity=[1.0, math.inf]), "velocity is infinite"),
    ],
)
def test_readings_that_cannot_be_used_say_why(message, reason):
    with pytest.raises(ReadingError, match=reason):
        values_of(JOINTS, message)


def test_values_are_picked_scaled_and_clamped():
    scan = Reading(
        "scan", "sensor_msgs/LaserScan", "ranges", "m", index=(2, 0), scale=2.0, offset=1.0, high=5.0
    )
    assert values_of(scan, LaserScan(ranges=[0.5, 9.0, math.inf])).tolist() == [5.0, 2.0]
    with pytest.raises(ReadingError, match="ranges has 2 values, index 2 is needed"):
        values_of(scan, LaserScan(ranges=[0.5, 9.0]))
    battery = Reading("battery_state", "sensor_msgs/BatteryState", "charging", "1")
    assert values_of(battery, BatteryState(power_supply_status=1)).tolist() == [1.0]


def test_images_are_read_row_by_row():
    camera = Reading("image", "sensor_msgs/Image", "data", "1")
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded = np.pad(pixels.reshape(2, 9), ((0, 0), (0, 3)))  # rows of 12 bytes
    message = Image(height=2, width=3, encoding="rgb8", step=12, data=padded.tobytes())
    np.testing.assert_array_equal(values_of(camera, message), pixels)
    message.encoding = "bgr8"
    with pytest.raises(ReadingError, match="encoding 'bgr8', expected mono8 or rgb8"):
        values_of(camera, message)


def test_stamps_and_silence_are_faults(tmp_path):
    senses = Senses(load_robot(written(tmp_path)))
    assert senses.fault(0.0) == "no message yet from joint_states (sensor_msgs/JointState)"

    def arrive(stamp: float, now: float) -> str:
        message = JointState(name=["elbow", "shoulder"], position=[2.0, 1.0])
        message.header.stamp = Time(nanoseconds=round(stamp * 1e9)).to_msg()
        senses.take(0, message, now, wall_time=1000.0)
        return senses.fault(now)

    assert arrive(1000.0, 1.0) == "" and senses.observation().tolist() == [1.0, 2.0]
    assert "stamp is 3 s old" in arrive(997.0, 1.0)
    assert "stamp is 3 s in the future" in arrive(1003.0, 1.0)
    assert arrive(1000.05, 1.0) == ""
    assert "sent nothing for more than 0.1 s" in senses.fault(1.2)


def test_a_cut_image_is_a_fault_and_no_crash(tmp_path):
    camera = {"topic": "image", "type": "sensor_msgs/Image", "field": "data", "unit": "1"}
    senses = Senses(load_robot(written(tmp_path, observation=[camera])))
    whole = Image(height=2, width=3, encoding="mono8", step=3, data=bytes(6))
    senses.take(0, whole, 1.0, wall_time=0.0)
    assert senses.fault(1.0) == ""
    senses.take(0, Image(height=2, width=3, encoding="mono8", step=3, data=bytes(5)), 1.0, wall_time=0.0)
    assert "image: data cannot be read" in senses.fault(1.0)


def test_commands_carry_joint_names_and_units(tmp_path):
    robot = load_robot(written(tmp_path))
    values = robot.command.convert(np.array([1.0, -1.0], np.float32))
    assert values.tolist() == [1.5, -1.5]
    message = command_writer(robot)(values, Time())
    assert message.joint_names == ["shoulder", "elbow"]
    assert message.points[0].positions.tolist() == [1.5, -1.5]
    assert message.points[0].time_from_start.nanosec == 50_000_000
    twist = ARM["command"] | {"type": "geometry_msgs/TwistStamped", "fields": ["linear.x", "angular.z"]}
    del twist["joints"]
    robot = load_robot(written(tmp_path, command=twist))
    message = command_writer(robot)(values, Time(nanoseconds=7))
    assert (message.twist.linear.x, message.twist.angular.z, message.header.stamp.nanosec) == (1.5, -1.5, 7)
    robot = load_robot(written(tmp_path, command=twist | {"fields": ["linear.x", "turn"]}))
    with pytest.raises(UserError, match="'turn' is none of a twist"):
        check_messages(robot)
