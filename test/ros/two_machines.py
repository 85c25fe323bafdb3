"""A robot's node on one machine and its sensors on another: two network namespaces, joined by a cable.

`test_middleware` runs this file, in a process of its own, as `link`.
"""

import sys
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from spiking_wm_msgs.msg import Observation

from spiking_wm_ros.graph.parts import NodeSpec, ResolvedGraph, managed
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.nodes import qos
from test.ros.graph import client
from test.ros.link import elsewhere, network_of_our_own


@pytest.mark.parametrize("localhost_only", ["environment", "false"])
def test_sensors_of_another_machine(localhost_only):
    robot = managed("robot", [NodeSpec("robot", {"robot": "rover"})])
    ours = ResolvedGraph(robot, Path(), localhost_only=localhost_only)
    driver = (sys.executable, "-m", "spiking_wm_ros.nodes.rover_driver")
    heard = []
    with (
        network_of_our_own(),
        elsewhere("env", "ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET", *driver),
        client() as made,
        Processes(ours),
    ):
        made.node.create_subscription(DiagnosticArray, "/diagnostics", heard.append, 10)
        observations = made.listen(Observation, "observation", qos.NEWEST)

        def fault() -> str:
            messages = [s.message for m in heard for s in m.status if s.name == "robot"]
            return next((message for message in messages if "message" in message), "")

        if localhost_only == "false":
            made.until(lambda: len(observations) > 10)
        else:
            made.until(fault)
            assert not observations and "no message yet from battery_state" in fault()
            assert "ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST" in fault()
            assert "localhost_only:=false" in fault()
