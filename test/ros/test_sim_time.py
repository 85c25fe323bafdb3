"""Simulated time: it stamps messages, and no node's timers, watchdogs or control periods wait for it."""

import threading
import time
from contextlib import contextmanager

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter as NodeParameter
from rosgraph_msgs.msg import Clock
from spiking_wm_msgs.msg import Transition as Step

from spiking_wm_ros.graph.specification import GRAPHS, resolve_graph
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.managed import ManagedNode
from spiking_wm_ros.nodes.simulated_time import SimulatedTime
from test.ros.deployed import Watch, deployed
from test.ros.graph import client
from test.ros.test_graph import endless, start

_START = 1000.0  # simulated time at which the tests' clocks begin, in seconds


def to_clock(seconds: float) -> Clock:
    message = Clock()
    message.clock.sec, message.clock.nanosec = int(seconds), int(seconds % 1 * 1e9)
    return message


class Simulation:
    """Publishes ``/clock`` at 100 Hz from a thread, as a simulator does."""

    def __init__(self, made):
        self.time, self.speed, self.published = _START, 1.0, True
        self.ends = False
        self._publisher = made.node.create_publisher(Clock, "/clock", 10)

    def run(self) -> None:
        before = time.monotonic()
        while not self.ends:
            now = time.monotonic()
            self.time += self.speed * (now - before)
            before = now
            if self.published:
                self._publisher.publish(to_clock(self.time))
            time.sleep(0.01)


@contextmanager
def simulation(made):
    simulated = Simulation(made)
    thread = threading.Thread(target=simulated.run)
    thread.start()
    try:
        yield simulated
    finally:
        simulated.ends = True
        thread.join()


# --- what counts as a fault ---


def faults(times: list[tuple[float, float]]) -> dict[float, str]:
    """Faults at pairs of steady and simulated time."""
    watch = SimulatedTime()
    return {now: watch.fault(now, simulated) for now, simulated in times}


def running(seconds: float, speed: float = 1.0, began: float = 0.0, first: float = _START, every: int = 1):
    """Pairs of steady and simulated time, one each control period, with a new time in every ``every``-th."""
    steps = range(1, round(seconds / 0.02) + 1)
    return [(began + s * 0.02, first + speed * (s // every * every) * 0.02) for s in steps]


@pytest.mark.parametrize("every", [1, 5])
@pytest.mark.parametrize(
    ("speed", "reason"),
    [
        (1.0, ""),
        (0.85, ""),
        (1.2, ""),
        (0.3, "runs at 0.30 of"),
        (2.0, "runs at 2.00 of"),
        (0.7, "runs at 0.70 of"),
    ],
)
def test_time_that_runs_at_another_speed_is_a_fault(speed, reason, every):
    found = faults(running(5.0, speed, every=every))
    assert all(fault for now, fault in found.items() if now < 0.9)  # not known yet: no observation
    assert all(reason in fault and bool(fault) == bool(reason) for now, fault in found.items() if now > 1.3)


def test_time_that_slows_down_is_noticed_within_half_a_second():
    found = faults(running(3.0) + running(2.0, 0.3, 3.0, _START + 3.0))
    assert not found[3.0]
    assert "of real time" in found[next(now for now in found if now > 3.5)]


@pytest.mark.parametrize(
    ("first", "reason"),
    [(_START - 50, "jumped 53 s back"), (_START + 100, "jumped 97 s ahead"), (0.0, "back")],
)
def test_time_that_jumps_is_a_fault_until_it_has_run_well_for_a_second(first, reason):
    found = faults(running(3.0) + running(3.0, 1.0, 3.0, first))
    assert not found[3.0]
    after = [fault for now, fault in found.items() if now > 3.001]
    assert all(reason in fault for fault in after[:49]) and not any(after[52:])


def test_time_that_stands_still_is_a_fault_until_it_has_run_well_for_a_second():
    paused = [(3.0 + s * 0.02, _START + 3.0) for s in range(1, 101)]
    found = faults(running(3.0) + paused + running(3.0, 1.0, 5.0, _START + 3.0))
    reasons = [found[now] for now in sorted(found) if now > 3.001]
    assert not any(reasons[:24]) and all("stands still" in reason for reason in reasons[26:150])
    assert not any(reasons[152:])
    never = faults([(s * 0.02, 0.0) for s in range(200)])
    assert all("nothing is heard of /clock" in fault for fault in never.values())


def test_a_node_that_hears_late_of_a_clock_that_runs_well_names_no_jump():
    """After a stall of the node its timer may come before the newest time."""
    stalled = [(5.0, _START + 3.0), (5.02, _START + 5.0)]
    found = faults(running(3.0) + stalled + running(2.0, 1.0, 5.02, _START + 5.0))
    assert not any("jumped" in fault for fault in found.values())
    assert not found[max(found)]


# --- one node ---


class Ticking(ManagedNode):
    """Counts ticks of a timer."""

    def configure(self) -> None:
        self.ticks = 0
        self.create_timer(0.01, self._tick)

    def _tick(self) -> None:
        self.ticks += 1


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_managed_node_takes_simulated_time_at_any_moment_and_keeps_it_over_a_cleanup(from_the_start):
    rclpy.init(args=["--ros-args", "-p", f"use_sim_time:={str(from_the_start).lower()}"])
    node = Ticking("ticking")
    publisher = node.create_publisher(Clock, "/clock", 10)

    def hears(seconds: float) -> bool:
        late = time.monotonic() + 10.0
        while node.get_clock().now().nanoseconds != seconds * 1e9 and time.monotonic() < late:
            publisher.publish(to_clock(seconds))
            rclpy.spin_once(node, timeout_sec=0.05)
        return node.get_clock().now().nanoseconds == seconds * 1e9

    try:
        node.on_configure(None)
        assert node.get_clock().ros_time_is_active == from_the_start
        assert node.set_parameters([NodeParameter("use_sim_time", value=True)])[0].successful
        began = time.monotonic()
        while node.ticks < 20 and time.monotonic() < began + 10.0:
            rclpy.spin_once(node, timeout_sec=0.05)
        assert node.ticks >= 20 and node.get_clock().now().nanoseconds == 0  # before the first time
        assert hears(5.0)
        node.on_cleanup(None)
        assert hears(6.0)
        bad = to_clock(7.0)
        bad.clock.sec = -7
        late = time.monotonic() + 10.0
        while not node.dropped.figures() and time.monotonic() < late:
            publisher.publish(bad)
            rclpy.spin_once(node, timeout_sec=0.05)
        assert node.dropped.figures() and node.raised is None
        node.on_configure(None)
        assert hears(8.0)
        assert node.set_parameters([NodeParameter("use_sim_time", value=False)])[0].successful
        assert node.get_clock().now().nanoseconds > 1e18  # the machine's time
    finally:
        node.destroy_node()
        rclpy.shutdown()


# --- a robot ---


def set_sim_time(rover: Watch, node: str, value: bool) -> bool:
    given = Parameter(
        name="use_sim_time", value=ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=value)
    )
    answer = rover.made.call(
        SetParameters, f"{node}/set_parameters", SetParameters.Request(parameters=[given])
    )
    return answer[0].results[0].successful


def is_well(rover: Watch) -> bool:
    del rover.status["robot"]
    rover.made.until(lambda: rover.status["robot"].name)
    return rover.status["robot"].level == DiagnosticStatus.OK


def test_a_robot_stops_while_simulated_time_cannot_be_counted_on_and_goes_on_after_that(trained):
    with deployed(trained, use_sim_time="true") as rover, simulation(rover.made) as simulated:
        made, robot = rover.made, lambda: rover.status["robot"].message
        simulated.published = False
        made.until(lambda: "all nodes are active" in rover.status["manager"].message)
        made.until(lambda: "nothing is heard of /clock" in robot(), 20.0)
        assert rover.commands and not rover.moves()
        simulated.published = True
        rover.until_it_moves()

        def stops_and_goes_on(reason: str) -> None:
            made.until(lambda: reason in robot(), 10.0)
            made.until(lambda: not rover.moves(), 1.0)
            assert rover.stays(0.2)
            made.until(lambda: rover.status["gate"].level == DiagnosticStatus.ERROR, 5.0)
            simulated.speed, simulated.published = 1.0, True
            made.until(lambda: is_well(rover), 10.0)
            assert rover.stays(0.2)  # until the gate is told to
            assert rover.ask("gate/resume").success
            rover.until_it_moves()

        simulated.speed = 0.3
        stops_and_goes_on("of real time")
        simulated.speed = 0.0
        stops_and_goes_on("stands still")
        simulated.published = False
        stops_and_goes_on("stands still")
        simulated.time += 30.0
        stops_and_goes_on("jumped 30 s ahead")
        simulated.time -= 100.0
        stops_and_goes_on("s back")
        # one node alone, while it drives: its time is not that of the sensors any more
        assert set_sim_time(rover, "gate", False) and set_sim_time(rover, "robot", False)
        stops_and_goes_on_with = "synchronise the clocks"
        made.until(lambda: stops_and_goes_on_with in robot(), 10.0)
        made.until(lambda: not rover.moves(), 1.0)
        assert set_sim_time(rover, "gate", True) and set_sim_time(rover, "robot", True)
        stops_and_goes_on("")
        assert abs(rover.joints[-1].header.stamp.sec - simulated.time) < 5.0
        assert not rover.processes.ended()


# --- training ---


def test_two_trainings_in_namespaces_leave_the_clock_to_others(tmp_path, tiny):
    stamps: dict[str, float] = {}

    def on_diagnostics(message: DiagnosticArray) -> None:
        stamp = message.header.stamp
        stamps.update({status.name: stamp.sec + stamp.nanosec * 1e-9 for status in message.status})

    one = {"namespace": "one", "use_sim_time": "true"}
    two = {"namespace": "two", "use_sim_time": "true", "clock": "false"}
    with (
        client() as made,
        start(tmp_path / "1", endless(tiny), **one),
        start(tmp_path / "2", endless(tiny), **two),
    ):
        made.node.create_subscription(DiagnosticArray, "/diagnostics", on_diagnostics, 10)
        heard = [made.listen(Step, f"/{name}/transition", qos.EVERY) for name in ("one", "two")]
        own = made.listen(Clock, "/one/clock", 10)
        made.until(lambda: all(heard) and own, 120.0)
        topics = [name for name, _ in made.node.get_topic_names_and_types()]
        assert made.node.count_publishers("/one/clock") == 1 and "/two/clock" not in topics
        assert made.node.count_publishers("/clock") == 0
        with simulation(made) as simulated:  # all nodes follow it, and none did before
            nodes = ("bridge", "policy", "dreamer", "manager")
            names = [f"{namespace}/{node}" for namespace in ("one", "two") for node in nodes]
            made.until(lambda: all(stamps.get(name, 0.0) > _START for name in names))
            assert all(stamps[name] < simulated.time + 1.0 for name in names)


def test_a_training_may_follow_its_own_clock(tmp_path, tiny):
    with client() as made:
        heard = made.listen(DiagnosticArray, "/diagnostics", 10)
        steps = made.listen(Step, "transition", qos.EVERY)
        short = {"steps": 60, "evaluate_every": 0, "dream_every": 0}
        with start(tmp_path, tiny | short, use_sim_time="true") as processes:
            made.until(processes.ended, 120.0)
            assert set(processes.ended().values()) == {0}
    assert [s.step for s in steps if not s.evaluation][-1] == 59
    assert max(m.header.stamp.sec for m in heard) < 100  # seconds of simulation, and not since 1970


def test_every_graph_takes_simulated_time_for_every_node(trained, tmp_path):
    given = {
        "train": {"run": str(tmp_path / "run")},
        "evaluate": {"checkpoint": str(trained)},
        "dream": {"checkpoint": str(trained)},
        "deploy": {"policy": str(trained), "simulated": "true", "dream": "true", "record": "true"},
        "view": {},
    }
    for name in GRAPHS:
        for asked in ("true", "false"):
            resolved = resolve_graph(name, given[name] | {"use_sim_time": asked})
            assert {node.parameters.get("use_sim_time", False) for node in resolved.nodes} == {
                asked == "true"
            }
