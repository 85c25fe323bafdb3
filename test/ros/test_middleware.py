"""What must not depend on Fast DDS, and which machines nodes hear."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from spiking_wm.core.errors import UserError
from spiking_wm_ros.graph.specification import GRAPHS, resolve_graph
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.bag import messages
from spiking_wm_ros.nodes.polled_subscriptions import PolledSubscriptions, take_new
from spiking_wm_ros.nodes.transport import avoid_shared_memory, why_others_are_not_heard
from test.ros.docs_extension import endpoints
from test.ros.graph import client
from test.ros.other_middleware import STAMPS
from test.ros.test_link import may_make_networks

RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"


# --- recorder and viewer ---


@pytest.mark.parametrize("stamps", STAMPS)
def test_all_is_recorded_whatever_the_middleware_stamps(stamps, tmp_path):
    folder, sent = tmp_path / "bag", 0
    command = [sys.executable, "-m", "test.ros.other_middleware", stamps, "--ros-args"]
    command += ["-p", f"folder:={folder}"]

    def recorded() -> list:
        return [m for m in messages(folder) if m.topic == "/said"] if folder.is_dir() else []

    with client() as made, subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as recorder:
        try:
            publisher = made.node.create_publisher(String, "said", qos.EVERY)
            made.until(publisher.get_subscription_count)
            began = time.time_ns()
            for sent in range(300):
                publisher.publish(String(data=str(sent)))
                time.sleep(0.005)
            ended = time.time_ns()
            said = lambda: [int(deserialize_message(m.data, String).data) for m in recorded()]  # noqa: E731
            made.until(lambda: said()[-1:] == [sent], 10.0)  # while it runs, not when it ends
            found = recorded()
            assert said() == [*range(said()[0], sent + 1)] and len(found) > 250
            assert all(began <= m.published <= ended for m in found)  # what it says does not count for that
            assert min(m.time for m in found) >= began
        finally:
            recorder.terminate()
        told = recorder.stderr.read()
        assert told.count("does not tell of lost messages") == 1, told
        assert recorder.wait(10) == 128 + 15, told


def test_a_publisher_that_is_faster_does_not_hold_up_who_takes():
    with client() as made:
        publisher = made.node.create_publisher(String, "said", qos.EVERY)
        polled = PolledSubscriptions(made.node)
        heard = polled.subscribe(String, "said", QoSProfile(depth=10))
        made.until(publisher.get_subscription_count)
        for number in range(20):
            publisher.publish(String(data=str(number)))
        time.sleep(0.2)
        taken = []
        for new in take_new(heard):
            taken.append(new.message.data)
            publisher.publish(String(data="more"))  # comes before the next one is taken
            assert len(taken) < 50
            time.sleep(0.005)
        assert len(taken) == 10
        with pytest.raises(ValueError, match="keeps all"):
            polled.subscribe(String, "said", qos.EVERY)
        polled.close()


def test_profiles_leave_alone_what_middlewares_do_not_share():
    """Zenoh has no deadlines and no liveliness; not all heed lifespans."""
    usual = QoSProfile(depth=1)
    for name, profile in endpoints.profiles().items():
        for policy in ("deadline", "lifespan", "liveliness", "liveliness_lease_duration"):
            assert getattr(profile, policy) == getattr(usual, policy), (name, policy)


# --- which machines are heard ---


@pytest.mark.parametrize("middleware", ["rmw_cyclonedds_cpp", "rmw_zenoh_cpp", "rmw_connextdds"])
def test_settings_for_fast_dds_are_for_it_only(middleware):
    environment = {RANGE: "LOCALHOST"}
    avoid_shared_memory(middleware, environment)
    assert environment == {RANGE: "LOCALHOST"}  # else others would hear every machine


@pytest.mark.parametrize(
    ("middleware", "environment", "named"),
    [
        ("rmw_fastrtps_cpp", {RANGE: "localhost"}, f"{RANGE}=LOCALHOST"),
        ("rmw_cyclonedds_cpp", {RANGE: "LOCALHOST"}, f"{RANGE}=LOCALHOST"),
        ("rmw_cyclonedds_cpp", {"ROS_LOCALHOST_ONLY": "1"}, "ROS_LOCALHOST_ONLY=1"),
        ("rmw_fastrtps_cpp", {RANGE: "SUBNET"}, ""),
        ("rmw_fastrtps_cpp", {}, ""),
        ("rmw_zenoh_cpp", {RANGE: "LOCALHOST"}, ""),
    ],
)
def test_the_setting_that_hides_other_machines_is_named(middleware, environment, named):
    avoid_shared_memory(middleware, environment)
    why = why_others_are_not_heard(middleware, environment)
    assert named in why and bool(named) == bool(why)
    assert not why or "localhost_only:=false" in why


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_says_which_machines_its_nodes_hear(graph):
    (argument,) = (a for a in GRAPHS[graph].arguments if a.name == "localhost_only")
    assert argument.default == "environment" and argument.choices == ("environment", "true", "false")


def test_without_a_word_the_environment_decides(tmp_path):
    given = {"run": str(tmp_path / "r")}
    assert resolve_graph("train", given).reach == {}
    assert resolve_graph("train", given | {"localhost_only": "true"}).reach == {RANGE: "LOCALHOST"}
    assert resolve_graph("train", given | {"localhost_only": "false"}).reach[RANGE] == "SUBNET"
    with pytest.raises(UserError, match="localhost_only"):
        resolve_graph("train", given | {"localhost_only": "no"})


@pytest.mark.skipif(not may_make_networks(), reason="takes root and iproute2")
def test_sensors_of_another_machine_are_heard_if_they_are_to_be():
    file = Path(__file__).with_name("two_machines.py")
    command = (sys.executable, "-m", "pytest", "-s", str(file))
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {RANGE: "LOCALHOST"})
    print(ended.stdout)
    assert ended.returncode == 0 and "2 passed" in ended.stdout, ended.stdout + ended.stderr
