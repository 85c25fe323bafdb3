"""A policy on a robot: the gate, the robot's topics, and what goes wrong, over real processes.

Times are printed; asserted are medians, with room for a machine that does other things besides.
"""

import os
import signal
import statistics
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.action import ActionClient
from sensor_msgs.msg import JointState, LaserScan
from spiking_wm_msgs.action import Dream
from spiking_wm_msgs.msg import Action, Phase, PolicyVersion
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger

from spiking_wm_ros.agents.bundle import load_bundle, pack_bundle
from spiking_wm_ros.agents.files import sha256
from spiking_wm_ros.agents.registry import settle
from spiking_wm_ros.agents.run import Run
from spiking_wm_ros.agents.spaces import Spaces
from spiking_wm_ros.agents.trainer import train
from spiking_wm_ros.errors import UserError
from spiking_wm_ros.graph.parts import NodeSpec, Started
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import settle_graph
from spiking_wm_ros.nodes import qos
from test.conftest import TINY
from test.graph import client, send, start_again

T = 0.02  # control period of the rover, in seconds


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A run on the rover, hardly trained, with a world model."""
    path = tmp_path_factory.mktemp("rover") / "run"
    given = TINY | {"evaluate_every": 0, "dream_every": 0, "actor_hidden": "[16]", "critic_hidden": "[16]"}
    run = Run.create(path, settle("popsan_dream", "Rover-v0", given), "Rover-v0")
    train(run)
    return path


class Watch:
    """What one hears of a deployed rover."""

    def __init__(self, made, processes: Processes, started: Started):
        self.made, self.processes, self.started = made, processes, started
        self.commands: list[tuple[float, list[float]]] = []
        self.status: dict[str, DiagnosticStatus] = defaultdict(DiagnosticStatus)  # empty if unheard
        on_command = lambda m: self.commands.append((time.monotonic(), list(m.data)))  # noqa: E731
        made.node.create_subscription(Float64MultiArray, "wheel_controller/commands", on_command, qos.COMMAND)
        made.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.joints = made.listen(JointState, "joint_states", qos.SENSOR)
        self.button = made.node.create_publisher(Bool, "emergency_stop", 10)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.status.update({status.name: status for status in message.status})

    def moves(self) -> bool:
        return bool(self.commands) and any(self.commands[-1][1])

    def figures(self, node: str) -> dict[str, str]:
        return {v.key: v.value for v in self.status[node].values}

    def wheels(self) -> float:
        """Speed of the faster wheel, rad/s; 0 before it is heard of."""
        return max(map(abs, self.joints[-1].velocity)) if self.joints else 0.0

    def until_it_moves(self, faster_than: float = -1.0) -> None:
        """On a crowded machine the gate may trip meanwhile, which is not what the tests that call it test."""

        def moves() -> bool:
            return self.moves() and self.wheels() > faster_than

        for _ in range(3):
            self.made.until(lambda: moves() or "no command" in self.status["gate"].message)
            if moves():
                return
            assert self.ask("gate/resume").success
            del self.status["gate"]
        raise AssertionError("the gate trips over and over")

    def drives(self) -> bool:
        """Whether it moves for 50 commands on end; on a crowded machine, once in three times."""
        for _ in range(3):
            self.until_it_moves()
            first = len(self.commands)
            self.made.until(lambda first=first: len(self.commands) > first + 50)
            if all(any(values) for _, values in self.commands[first:]):
                return True
        return False

    def stops_within(self) -> float:
        """Seconds until the next safe command."""
        began = time.monotonic()
        self.made.until(lambda: self.commands[-1][0] > began and not self.moves(), 10.0)
        return self.commands[-1][0] - began

    def stays(self, seconds: float = 0.5) -> bool:
        """Whether no command moves it for some time."""
        began = time.monotonic()
        self.made.until(lambda: time.monotonic() > began + seconds)
        heard = [values for at, values in self.commands if at > began]
        return bool(heard) and not np.any(heard)

    def ask(self, service: str) -> Trigger.Response:
        return self.made.call(Trigger, service)[0]


@contextmanager
def deployed(trained: Path, **given):
    arguments = {"robot": "rover", "policy": str(trained), "simulated": "true"}
    started = settle_graph("deploy", arguments | given)
    with client() as made, Processes(started) as processes:
        yield Watch(made, processes, started)


def test_whatever_stops_the_policy_stops_the_rover(trained):
    with deployed(trained) as rover:
        rover.until_it_moves()
        spent = []
        for _ in range(5):
            send(rover.processes, "policy", signal.SIGSTOP)
            spent.append(rover.stops_within())
            send(rover.processes, "policy", signal.SIGCONT)
            assert rover.stays()  # the policy is back: that is no reason to move
            assert rover.ask("gate/resume").success
            rover.until_it_moves()
        send(rover.processes, "policy", signal.SIGKILL)
        killed = rover.stops_within()
        print("ms to the safe command, SIGSTOP and SIGKILL:", [round(s * 1e3) for s in (*spent, killed)])
        assert statistics.median([*spent, killed]) <= 3 * T
        assert rover.stays()
        rover.made.until(lambda: "no command for" in rover.status["gate"].message)
        assert rover.status["gate"].level == DiagnosticStatus.ERROR
        assert not rover.processes.ended()  # the gate goes on holding the rover


def test_the_emergency_stop_acts_within_a_period_and_holds(trained):
    with deployed(trained) as rover:
        rover.until_it_moves()
        rover.made.until(lambda: rover.button.get_subscription_count() >= 1)
        spent = []
        for _ in range(5):
            rover.button.publish(Bool(data=True))
            spent.append(rover.stops_within())
            refused = rover.ask("gate/resume")
            assert not refused.success and "still pressed" in refused.message
            rover.button.publish(Bool(data=False))
            assert rover.stays()  # letting go of the button is not a resume
            assert rover.ask("gate/resume").success
            rover.until_it_moves()
        print("safe command after an emergency stop:", [round(s * 1e3, 1) for s in spent], "ms")
        assert statistics.median(spent) <= T
        assert rover.ask("gate/stop").success
        assert rover.stays() and rover.ask("gate/resume").success
        rover.until_it_moves()


def test_without_its_gate_the_rover_stops_by_its_own_timeout(trained):
    with deployed(trained) as rover:
        rover.until_it_moves(faster_than=0.3)
        send(rover.processes, "gate", signal.SIGKILL)
        rover.made.until(lambda: rover.wheels() < 0.1, 5.0)
        rover.made.until(lambda: "gate" in rover.processes.ended())  # and the graph is to end


def test_a_sensor_that_falls_silent_stops_the_rover(trained):
    with deployed(trained) as rover:
        rover.until_it_moves()
        send(rover.processes, "rover_driver", signal.SIGSTOP)
        rover.stops_within()
        rover.made.until(lambda: "silent for more than 0.1 s" in rover.status["robot"].message)
        assert rover.stays()
        send(rover.processes, "rover_driver", signal.SIGCONT)


def sensors_of_our_own(made) -> tuple:
    """Publishers of the rover's scan and joints, of all its topics the ones that are played with."""
    return (
        made.node.create_publisher(LaserScan, "scan", qos.OFFERED_SENSOR),
        made.node.create_publisher(JointState, "joint_states", qos.OFFERED_SENSOR),
    )


ONLY_SCAN_AND_JOINTS = """
period: 0.02
observation:
  - {topic: scan, type: sensor_msgs/LaserScan, field: ranges, index: [%s], high: 3.0, unit: m}
  - {topic: joint_states, type: sensor_msgs/JointState, field: velocity, joints: [left, right], unit: rad/s}
command:
  {topic: wheel_controller/commands, type: std_msgs/Float64MultiArray, joints: [left, right], unit: rad/s,
   scale: 12.0, low: [-12, -12], high: [12, 12]}
"""


def test_what_is_wrong_with_a_sensor_is_named_and_nothing_moves(trained, tmp_path):
    file = tmp_path / "two.yaml"
    file.write_text(ONLY_SCAN_AND_JOINTS % ", ".join(map(str, range(17))))  # 19 values in all
    with deployed(trained, robot=str(file), simulated="false") as rover:
        made = rover.made
        scans, joints = sensors_of_our_own(made)

        def until_told(text: str, skew: float = 0.0, names=("right", "left"), velocity=(0.0, 0.0)) -> None:
            """Publish both until diagnostics say something of the robot."""

            def told() -> bool:
                stamp = made.node.get_clock().now().nanoseconds + round(skew * 1e9)
                scan, joint = LaserScan(ranges=17 * [1.0]), JointState(name=names, velocity=velocity)
                for message in (scan, joint):
                    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
                scans.publish(scan)
                joints.publish(joint)
                return "robot" in rover.status and text in rover.status["robot"].message

            made.until(told, 20.0)

        unheard = "joint_states (sensor_msgs/JointState), scan (sensor_msgs/LaserScan)"
        made.until(lambda: "robot" in rover.status and unheard in rover.status["robot"].message, 20.0)
        until_told("its stamp is 5 s old", skew=-5)
        until_told("in the future", skew=5)
        until_told("joint 'right' is missing; it has left, arm", names=("left", "arm"))
        until_told("is NaN", velocity=(0.0, float("nan")))
        assert rover.status["robot"].level == DiagnosticStatus.ERROR
        assert not np.any([values for _, values in rover.commands])
        until_told("sensing")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"robot": "rovr"}, "unknown robot 'rovr'; did you mean 'rover'"),
        ({"robot": "two.yaml"}, "does not exist"),
        ({"policy": "/nowhere"}, "no checkpoint in /nowhere"),
        ({"policy": ""}, "policy:= is missing"),
        ({"dream": "maybe"}, "unknown dream 'maybe'"),
        ({"sleep_below": "0.3"}, "unknown argument 'sleep_below'"),
    ],
)
def test_bad_arguments_are_refused_before_anything_starts(trained, given, message):
    with pytest.raises(UserError, match=message):
        settle_graph("deploy", {"robot": "rover", "policy": str(trained)} | given)


def test_a_policy_of_another_robot_is_refused_before_anything_starts(trained, tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(ONLY_SCAN_AND_JOINTS % "0, 1")
    with pytest.raises(UserError, match=r"does not fit robot:=small: it sees \(19,\) values"):
        settle_graph("deploy", {"robot": str(file), "policy": str(trained)})


def test_a_robot_dreams_at_rest_and_the_dreamer_s_death_does_not_touch_it(trained):
    with deployed(trained, dream="true", updates="4", capacity_j="100000") as rover:
        made = rover.made
        phases = made.listen(Phase, "phase", qos.LATCHED)
        versions = made.listen(PolicyVersion, "policy_version", qos.LATCHED)
        rover.until_it_moves()
        trips = []  # it sleeps and wakes without tripping the gate; on a crowded machine, once in three times
        while len(trips) < 3 and 0 not in trips:
            made.until(lambda: "trips" in rover.figures("gate"))
            before, known = int(rover.figures("gate")["trips"]), len(versions)
            made.until(lambda: rover.ask("scheduler/sleep").success)
            made.until(lambda: phases[-1].phase == Phase.DREAMING)
            rover.stops_within()
            made.until(lambda: phases[-1].phase == Phase.AWAKE and "4 updates" in phases[-1].reason)
            made.until(lambda known=known: len(versions) > known)
            rover.until_it_moves()
            made.until(lambda: rover.figures("gate").get("policy_version") == str(versions[-1].version))
            trips.append(int(rover.figures("gate")["trips"]) - before)
        print("trips of the gate, each time it slept:", trips)
        assert 0 in trips
        # it dreams flat out while the rover drives, and dies between two updates
        dreaming, heard = ActionClient(made.node, Dream, "dreamer/dream_phase"), []
        made.until(dreaming.server_is_ready)
        dreaming.send_goal_async(
            Dream.Goal(seconds=600.0), feedback_callback=lambda m: heard.append(m.feedback)
        )
        made.until(lambda: len(heard) > 2 and heard[-1].updates > heard[-2].updates > 0)
        rover.until_it_moves()
        send(rover.processes, "dreamer", signal.SIGKILL)
        made.until(lambda: "dreamer is gone, the others go on" in rover.status["manager"].message)
        print(
            "trips of the gate since the dreamer's death:", rover.figures("gate")["trips"]
        )  # 0 if all is well
        assert rover.drives()
        assert not rover.processes.ended()
        assert load_bundle(Path(versions[-1].path), versions[-1].sha256).version == versions[-1].version
        # started again and brought up, it dreams as before
        start_again(rover.processes, rover.started, "dreamer")
        assert rover.ask("manager/bring_up").success
        made.until(lambda: "all nodes are active" in rover.status["manager"].message)
        del rover.status["dreamer"], phases[:]
        made.until(lambda: "dreamer" in rover.status and rover.figures("dreamer")["can_dream"] == "True")
        made.until(lambda: rover.ask("scheduler/sleep").success)
        made.until(lambda: phases and "4 updates" in phases[-1].reason, 30.0)
        rover.until_it_moves()


def test_the_emergency_stop_holds_in_every_phase(trained):
    """Awake; dreaming; and idle, with an empty battery on a dead dock and the dream over."""
    energy = {"capacity_j": "150", "charging_w": "0", "hold": "1"}
    with deployed(trained, dream="true", updates="40", **energy) as rover:
        phases = rover.made.listen(Phase, "phase", qos.LATCHED)
        rover.made.until(lambda: rover.button.get_subscription_count() >= 2)  # gate and scheduler
        for phase in (Phase.AWAKE, Phase.DREAMING, Phase.IDLE):
            rover.made.until(lambda phase=phase: phases and phases[-1].phase == phase)
            if phase == Phase.AWAKE:
                rover.until_it_moves()
            rover.button.publish(Bool(data=True))
            rover.made.until(lambda: phases[-1].phase == Phase.STOPPED, 1.0)
            rover.stops_within()
            rover.button.publish(Bool(data=False))  # letting go of the button is not a resume
            assert rover.stays()
            for service in ("scheduler/sleep", "scheduler/wake"):
                assert not rover.ask(service).success
            assert rover.ask("scheduler/resume").success
            assert rover.stays()  # the gate holds until it is resumed as well
            assert rover.ask("gate/resume").success


def test_a_thousand_versions_are_taken_while_it_drives(trained, tmp_path):
    base = load_bundle(
        trained / "checkpoints" / sorted(os.listdir(trained / "checkpoints"))[-1] / "policy.safetensors"
    )
    facts = base.facts
    spaces = Spaces.from_json(facts["spaces"])
    started = settle_graph("deploy", {"robot": "rover", "policy": str(trained), "simulated": "true"})
    nodes = [
        NodeSpec("policy", {"real_time": True}, vital=False) if n.executable == "policy" else n
        for n in started.nodes
    ]
    count = 1000
    with client() as made, Processes(started.__class__(nodes, started.run)) as processes:
        rover = Watch(made, processes, started)
        actions = made.listen(Action, "action", qos.OFFERED_SENSOR)
        publisher = made.node.create_publisher(PolicyVersion, "policy_version", qos.LATCHED)

        def publish(version: int, content: bytes) -> None:
            path = tmp_path / f"{version}.safetensors"
            path.write_bytes(content)
            publisher.publish(PolicyVersion(version=version, path=str(path), sha256=sha256(path)))

        def bundle(version: int) -> bytes:
            return pack_bundle(base.weights, facts["agent"], facts["options"], spaces, version)

        publish(1, bundle(1))
        rover.until_it_moves()
        made.until(lambda: actions)
        del actions[:]
        for version in range(2, count + 1):
            content = bundle(version)
            publish(version, content)
            made.until(lambda heard=len(actions): len(actions) > heard)
        wide = spaces._replace(
            observation=type(spaces.observation)(-np.ones(3), np.ones(3), dtype=np.float32)
        )
        publish(count + 1, bundle(count)[:-100])  # cut short
        made.until(lambda: "refused" in rover.status["policy"].message)
        publish(count + 2, pack_bundle(base.weights, facts["agent"], facts["options"], wide, count + 2))
        made.until(lambda: f"version {count + 2} refused" in rover.status["policy"].message)
        made.until(lambda heard=len(actions): len(actions) > heard + 5)
        taken = [action.policy_version for action in actions]
        assert taken == sorted(taken) and taken[-1] == count  # the last good one acts on
        assert len(set(taken)) > 0.5 * count  # nearly every one acted, unless the machine stalls
        made.until(lambda: int(rover.figures("gate")["policy_version"]) == count)
        stamps = [action.header.stamp.sec + action.header.stamp.nanosec * 1e-9 for action in actions]
        gaps = np.diff(stamps)
        arrivals = np.diff([at for at, _ in rover.commands[-count:]])
        for what, found in (("observations answered", gaps), ("commands", arrivals)):
            print(f"1000 swaps, {what}: p50, p99, max in ms:", np.percentile(found, (50, 99, 100)) * 1e3)
        print("trips of the gate:", rover.figures("gate")["trips"])  # 0 unless the machine stalls
        assert np.percentile(gaps, 95) <= 2 * T


def test_two_robots_do_not_hear_each_other(trained):
    with deployed(trained, namespace="one") as one, client("two") as made:
        second = settle_graph(
            "deploy", {"robot": "rover", "policy": str(trained), "simulated": "true", "namespace": "two"}
        )
        heard = made.listen(Float64MultiArray, "wheel_controller/commands", qos.COMMAND)
        with Processes(second):
            made.until(lambda: heard and any(heard[-1].data))
            button = one.made.node.create_publisher(Bool, "/one/emergency_stop", 10)
            one.made.until(lambda: button.get_subscription_count() == 1)
            button.publish(Bool(data=True))
            one.made.until(
                lambda: one.status.get("one/gate") and "emergency" in one.status["one/gate"].message
            )
            heard.clear()
            one.status.pop("two/gate", None)  # it may not have come yet
            made.until(lambda: len(heard) > 20)
            one.made.until(lambda: "two/gate" in one.status)
            other = one.status["two/gate"].message
            # the other one drives on, or stands for want of a command, as it may on a crowded machine
            assert all(any(m.data) for m in heard) or "no command" in other
            assert "emergency" not in other
