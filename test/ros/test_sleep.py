"""Battery, phases and emergency stop, over real processes and Fast DDS."""

import math
import time
from threading import Thread

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.action import ActionServer
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from sensor_msgs.msg import BatteryState
from spiking_wm_msgs.action import Dream
from spiking_wm_msgs.msg import Observation, Phase, Transition
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from spiking_wm.core.options import UserError
from spiking_wm.runs.folder import Run
from spiking_wm.runs.report import report
from spiking_wm_ros.graph.specification import resolve_graph
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes import scheduler as scheduling
from test.ros.graph import client, run_to_end
from test.ros.test_graph import dreamer_figures, endless, start, when_it_can_dream

ROVER = {
    "env": "Rover-v0",
    "battery": "own",
    "actor_hidden": "[16]",
    "critic_hidden": "[16]",
    "capacity_j": 30,
    "charging_w": 5,
    "idle_w": 0,
    "computing_w": 0.5,
    "efficiency": 0.1,
    "hold": 1,
    "wake_above": 0.6,
}


class Robot:
    """What one hears of a robot that sleeps."""

    def __init__(self, made):
        self.made = made
        self.phases = made.listen(Phase, "phase", qos.LATCHED)
        self.resting = made.listen(Bool, "resting", qos.LATCHED)
        self.transitions = made.listen(Transition, "transition", qos.EVERY)
        self.observations = made.listen(Observation, "observation", qos.OFFERED_NEWEST)
        self.charges = made.listen(BatteryState, "battery_state", qos.SENSOR)
        self.emergency = made.node.create_publisher(Bool, "emergency_stop", 10)

    def until(self, phase: int, seconds: float = 60.0) -> Phase:
        self.made.until(lambda: self.phases and self.phases[-1].phase == phase, seconds)
        return self.phases[-1]

    def ask(self, name: str) -> Trigger.Response:
        return self.made.call(Trigger, f"scheduler/{name}")[0]

    def acts(self) -> bool:
        """Whether transitions come, after what is on its way has arrived."""
        self.made.until(lambda when=time.monotonic() + 0.3: time.monotonic() > when)
        before = len(self.transitions)
        self.made.until(lambda when=time.monotonic() + 0.7: time.monotonic() > when)
        return len(self.transitions) > before


def test_a_low_battery_makes_the_rover_dream_on_its_dock(tmp_path, tiny):
    with client() as made, start(tmp_path / "run", endless(tiny) | ROVER):
        robot = Robot(made)
        health = made.listen(DiagnosticArray, "/diagnostics", 10)
        asleep = robot.until(Phase.DREAMING)
        # charges are heard without acknowledgement too, so what the scheduler heard counts
        assert int(asleep.reason.removeprefix("battery at ").removesuffix("%")) <= 25  # rounded
        made.until(lambda: robot.resting[-1].data and robot.transitions[-1].truncated)
        last = robot.transitions[-1]
        assert last.truncated and not last.terminated and list(last.action.values) == [0, 0]
        robot.until(Phase.AWAKE)
        assert robot.phases[-1].reason == "battery charged"
        charging = [c for c in robot.charges if c.power_supply_status == 1]
        assert charging and max(c.percentage for c in charging) >= 0.6
        made.until(lambda: robot.transitions[-1].step > last.step + 20)
        steps = [t.step for t in robot.transitions]
        assert steps == list(range(steps[0], steps[0] + len(steps)))  # sleep counts no steps
        first = next(t for t in robot.transitions if t.step == last.step + 1)
        assert first.episode == last.episode + 1
        # observations are heard without acknowledgement: a crowded machine may miss some
        assert all(o.episode_start for o in robot.observations if o.step == last.step + 1)
        assert first.observation.values[17] == pytest.approx(0.6, abs=0.2)  # the charge went on
        made.until(lambda: int(dreamer_figures(health[-1]).get("dream_rollouts", 0)) > 0)
    run = Run(tmp_path / "run")
    told = [(row["phase"], row["reason"]) for row in run.table("phases")]
    assert told[0] == ("awake", "started") and ("dreaming", asleep.reason) in told
    assert ("awake", "battery charged") in told
    assert f"<td>dreaming</td><td>{asleep.reason}</td>" in report(run).read_text()


def test_an_evaluation_is_finished_before_the_rover_goes_to_its_dock(tmp_path, tiny):
    """It would not charge elsewhere, and never wake up."""
    options = endless(tiny) | ROVER | {"capacity_j": 100_000, "evaluate_every": 20, "evaluation_episodes": 1}
    with client() as made, start(tmp_path / "run", options):
        robot = Robot(made)
        when_it_can_dream(made)
        made.until(lambda: robot.transitions[-1].evaluation and robot.transitions[-1].step > 10)
        assert robot.ask("sleep").success
        robot.until(Phase.DREAMING)
        made.until(lambda: robot.resting[-1].data)
        made.until(lambda count=len(robot.charges): len(robot.charges) > count + 5)
        assert robot.charges[-1].power_supply_status == BatteryState.POWER_SUPPLY_STATUS_CHARGING
        # the evaluation may have ended before the phase came; the last step is one of training all the same
        made.until(lambda: robot.transitions[-1].truncated and not robot.transitions[-1].evaluation)
        assert robot.ask("wake").success and robot.acts()


def test_the_emergency_stop_holds_in_every_phase_until_resumed(tmp_path, tiny):
    options = endless(tiny) | ROVER | {"capacity_j": 100_000}
    with client() as made, start(tmp_path / "run", options):
        robot = Robot(made)
        when_it_can_dream(made)
        for sleeping in (False, True):
            if sleeping:
                assert robot.ask("sleep").success
                robot.until(Phase.DREAMING)
                made.until(lambda: robot.resting[-1].data)
            else:
                assert robot.acts()
            robot.emergency.publish(Bool(data=True))
            robot.until(Phase.STOPPED, 1.0)
            made.until(lambda: robot.resting[-1].data, 1.0)
            robot.emergency.publish(Bool(data=False))  # letting go of the button is not a resume
            assert not robot.acts()
            for name in ("sleep", "wake"):
                refused = robot.ask(name)
                assert not refused.success and "call ~/resume" in refused.message
            assert robot.ask("resume").success
            robot.until(Phase.AWAKE)
            assert robot.acts()
        assert not robot.ask("resume").success


def test_a_dream_of_which_nothing_is_heard_any_more_is_asked_for_again(monkeypatch):
    """As when a dreamer is killed, and the next one is there before that can be seen."""
    monkeypatch.setattr(scheduling, "_SILENT", 1.0)
    goals = []
    rclpy.init(args=[])
    scheduler, executor = scheduling.SchedulerNode(), SingleThreadedExecutor()
    executor.add_node(scheduler)
    spinning = Thread(target=executor.spin)
    spinning.start()
    try:
        with client() as made:  # a dreamer that takes goals, and says nothing more
            never = lambda goal: Dream.Result()  # noqa: E731 - what is taken is not executed
            server = ActionServer(
                made.node, Dream, "dreamer/dream_phase", never, handle_accepted_callback=goals.append
            )
            resting = made.node.create_publisher(Bool, "resting", qos.LATCHED)
            resting.publish(Bool(data=True))
            made.until(lambda: made.call(Trigger, "scheduler/sleep")[0].success)
            made.until(lambda: len(goals) == 1)
            made.until(lambda: made.call(Trigger, "scheduler/sleep")[0].success)
            made.until(lambda: len(goals) == 2)
            server.destroy()
    finally:
        executor.shutdown()
        spinning.join()
        scheduler.end()
        scheduler.destroy_node()
        rclpy.try_shutdown()


def test_sleep_and_wake_on_request(tmp_path, tiny):
    options = (
        endless(tiny) | ROVER | {"capacity_j": 100_000, "updates": 600}
    )  # a second or more: it is to be seen
    with client() as made, start(tmp_path / "run", options):
        robot = Robot(made)
        when_it_can_dream(made)
        assert robot.ask("sleep").success
        robot.until(Phase.DREAMING)
        assert not robot.ask("sleep").success
        robot.until(Phase.AWAKE)
        assert "600 updates" in robot.phases[-1].reason
        assert robot.acts()


def test_thresholds_can_be_changed_while_it_runs_but_not_to_nonsense(tmp_path, tiny):
    options = endless(tiny) | {"battery": "virtual", "capacity_j": 100_000, "hold": 0.2, "charging_w": 0}
    with client() as made, start(tmp_path / "run", options):
        robot = Robot(made)
        when_it_can_dream(made)

        def change(**values: float) -> SetParametersResult:
            parameters = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
            request = SetParametersAtomically.Request(parameters=parameters)
            return made.call(SetParametersAtomically, "scheduler/set_parameters_atomically", request)[
                0
            ].result

        refused = change(sleep_below=0.95)
        assert not refused.successful and "must be less than wake_above" in refused.reason
        assert not change(hold=-1.0).successful
        assert not change(sleep_below=math.nan).successful
        assert robot.phases[-1].phase == Phase.AWAKE
        assert change(sleep_below=0.9999, wake_above=1.0).successful  # the battery is not quite full
        assert "battery at" in robot.until(Phase.DREAMING).reason


def test_a_battery_that_says_nothing_changes_nothing(tmp_path, tiny):
    options = endless(tiny) | {"battery": "virtual", "capacity_j": 100_000, "hold": 0.5}
    with client() as made, start(tmp_path / "run", options):
        robot = Robot(made)
        made.until(lambda: robot.transitions and robot.charges)
        wild = made.node.create_publisher(BatteryState, "battery_state", qos.OFFERED_SENSOR)
        for percentage in 10 * [math.nan, -1.0, math.inf, 25.0]:
            wild.publish(BatteryState(percentage=percentage))
        assert robot.acts()
        assert [p.phase for p in robot.phases] == [Phase.AWAKE]
        charges = [c.percentage for c in robot.charges if 0 <= c.percentage <= 1]
        assert np.all(np.diff(charges) <= 0)  # the virtual battery drains while it acts


def test_dreaming_only_within_an_energy_budget(tmp_path, tiny):
    run_to_end("train", tiny | {"run": tmp_path / "run"})
    began = time.monotonic()
    run_to_end("dream", {"checkpoint": tmp_path / "run", "joules": 6})  # 3 W of computing: 2 s
    assert time.monotonic() - began > 2


def test_a_battery_of_its_own_must_be_there(capfd, tmp_path, tiny):
    with start(tmp_path / "run", tiny | {"battery": "own"}) as processes:
        while not processes.ended():
            time.sleep(0.1)
    assert "InvertedPendulum-v5 has no battery of its own: choose battery:=virtual" in capfd.readouterr().err


def test_options_of_a_battery_need_one(tmp_path):
    with pytest.raises(UserError, match="sleep_below:= .* battery:=own or battery:=virtual"):
        resolve_graph("train", {"sleep_below": "0.3", "run": str(tmp_path / "run")})
    with pytest.raises(UserError, match="wake_above:=2.0 is outside 0..1"):
        resolve_graph("train", {"wake_above": "2", "battery": "own", "run": str(tmp_path / "run")})
