"""Onlookers that join while a robot drives, and the transport that lets them."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import LaserScan
from spiking_wm_msgs.msg import Action, Observation
from std_msgs.msg import Float64MultiArray

from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.transport import avoid_shared_memory
from test.ros.deployed import deployed
from test.ros.graph import client

HEARS = """
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
rclpy.init()
node, names = rclpy.create_node("onlooker"), set()
take = lambda message: names.update(status.name for status in message.status)
node.create_subscription(DiagnosticArray, "/diagnostics", take, 10)
while not {"gate", "robot", "policy"} <= names:
    rclpy.spin_once(node, timeout_sec=1.0)
"""


def join(onlooker) -> None:
    """Hear of the robot whatever there is, and stay."""
    seen = onlooker.listen(Observation, "observation", qos.NEWEST)
    onlooker.listen(Action, "action", qos.NEWEST)
    onlooker.listen(Float64MultiArray, "wheel_controller/commands", qos.COMMAND)
    onlooker.listen(LaserScan, "scan", qos.SENSOR)
    onlooker.listen(DiagnosticArray, "/diagnostics", 10)
    onlooker.until(lambda: seen)


@pytest.mark.flaky(reruns=1)  # measures times, and machines stand still for seconds
def test_twenty_onlookers_join_and_the_gate_does_not_trip(trained):
    """On a crowded machine it may trip without them: one round of eight will do. By chance never before."""
    with deployed(trained) as rover:
        for _ in range(8):
            rover.until_it_moves()
            rover.made.until(lambda: "trips" in rover.figures("gate"))
            before = rover.figures("gate")["trips"]
            with ExitStack() as onlookers:
                for _ in range(20):
                    join(onlookers.enter_context(client()))
            rover.status.pop("gate")
            rover.made.until(lambda: "gate" in rover.status)
            if rover.figures("gate")["trips"] == before:
                return
    raise AssertionError("the gate tripped in every round")


@pytest.mark.parametrize("kind", ["recorder", "viewer"])
def test_a_node_that_only_looks_joins_and_the_rover_drives_on(trained, kind, tmp_path):
    given = {"recorder": f"folder:={tmp_path}", "viewer": "port:=0"}[kind]
    command = [sys.executable, "-m", f"spiking_wm_ros.nodes.{kind}", "--ros-args", "-p", given]
    with deployed(trained) as rover:
        rover.until_it_moves()
        with subprocess.Popen(command) as onlooker:
            try:
                rover.made.until(lambda: kind in rover.status)
                assert rover.drives()
            finally:
                onlooker.terminate()


@pytest.mark.parametrize("reach", ["LOCALHOST", "SUBNET"])
def test_nodes_use_no_shared_memory_and_others_of_this_machine_hear_them(trained, reach):
    with deployed(trained) as rover:
        rover.until_it_moves()
        for child in rover.processes._children.values():
            threads = [(task / "comm").read_text() for task in Path(f"/proc/{child.pid}/task").iterdir()]
            assert any(name.startswith("dds.udp") for name in threads)
            assert not any(name.startswith("dds.shm") for name in threads)
        environment = os.environ | {"ROS_AUTOMATIC_DISCOVERY_RANGE": reach}
        assert subprocess.run((sys.executable, "-c", HEARS), env=environment, timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}),
        ({}, {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4"}),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "SHM"}, {}),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "own.xml"}, {}),
        ({"ROS_STATIC_PEERS": "10.0.0.1", "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, {}),
    ],
)
def test_a_choice_of_the_user_is_kept(given, chosen):
    environment = dict(given)
    avoid_shared_memory("rmw_fastrtps_cpp", environment)
    assert environment == given | chosen


def test_on_this_machine_alone_a_profile_chooses_the_transport():
    environment = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "localhost"}
    avoid_shared_memory("rmw_fastrtps_cpp", environment)
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SYSTEM_DEFAULT"
    assert Path(environment["FASTRTPS_DEFAULT_PROFILES_FILE"]).is_file()
