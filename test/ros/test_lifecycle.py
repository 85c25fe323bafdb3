"""Managed nodes: brought up in order, stopped without ending, and what happens when one is gone."""

import signal
import subprocess
import sys
import time

import pytest
import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from spiking_wm_msgs.msg import Observation, PolicyVersion
from spiking_wm_msgs.msg import Transition as Step
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.managed import ManagedNode
from test.ros.deployed import deployed
from test.ros.graph import client, send
from test.ros.test_graph import endless, start

INACTIVE, ACTIVE = State.PRIMARY_STATE_INACTIVE, State.PRIMARY_STATE_ACTIVE


def state(made, node: str) -> int:
    return made.call(GetState, f"{node}/get_state")[0].current_state.id


def change(made, node: str, transition: str) -> bool:
    number = getattr(Transition, f"TRANSITION_{transition.upper()}")
    request = ChangeState.Request(transition=Transition(id=number))
    return made.call(ChangeState, f"{node}/change_state", request)[0].success


def later(made, seconds: float) -> None:
    made.until(lambda when=time.monotonic() + seconds: time.monotonic() > when)


class Listening(ManagedNode):
    """Keeps what it hears, and publishes as it does."""

    def configure(self) -> None:
        self.heard = []
        self.publisher = self.create_publisher(Bool, "heard", 10)
        self.subscription = self.create_subscription(Bool, "said", self._on_said, 10)

    def _on_said(self, message: Bool) -> None:
        self.heard.append(message.data)
        self.publisher.publish(message)


def test_a_message_in_hand_when_a_node_is_cleaned_up_is_for_nobody():
    rclpy.init()
    node = Listening("listening")
    try:
        node.on_configure(None)
        of_first = node.subscription.callback
        of_first(Bool(data=True))
        assert node.heard == [True]
        node.on_cleanup(None)
        of_first(Bool(data=True))
        assert node.heard == [True] and node.raised is None
        node.on_configure(None)
        of_first(Bool(data=True))
        assert node.heard == []
        node.subscription.callback(Bool(data=False))
        assert node.heard == [False] and node.raised is None
    finally:
        node.destroy_node()
        rclpy.shutdown()


def test_nodes_that_do_not_compute_load_no_torch():
    names = ("bridge", "dreamer", "gate", "manager", "robot", "rover_driver", "scheduler")
    imports = "; ".join(f"import spiking_wm_ros.nodes.{name}" for name in names)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_training_stops_and_goes_on_without_losing_a_step(tmp_path, tiny):
    with client() as made, start(tmp_path, endless(tiny) | {"evaluate_every": 0}):
        steps = made.listen(Step, "transition", qos.EVERY)
        made.until(lambda: len(steps) > 50)
        assert all(state(made, node) == ACTIVE for node in ("bridge", "policy", "dreamer"))
        for node in ("bridge", "policy"):
            assert change(made, node, "deactivate")
            later(made, 0.5)
            before = len(steps)
            later(made, 0.5)
            assert len(steps) == before and state(made, node) == INACTIVE
            assert change(made, node, "activate")
            made.until(lambda before=before: len(steps) > before + 20)
        assert change(made, "dreamer", "deactivate")
        refused = made.call(Trigger, "dreamer/dream")[0]
        assert not refused.success and "inactive" in refused.message
        numbers = [step.step for step in steps]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_dreamer_that_is_configured_again_goes_on_with_its_run(tmp_path, tiny):
    with client() as made, start(tmp_path, endless(tiny) | {"evaluate_every": 0}):
        steps = made.listen(Step, "transition", qos.EVERY)
        versions = made.listen(PolicyVersion, "policy_version", qos.LATCHED)
        made.until(lambda: len(versions) > 2)
        for node in ("bridge", "dreamer"):
            assert change(made, node, "deactivate") and change(made, node, "cleanup")
        last = versions[-1].version
        del versions[:], steps[:]
        made.until(lambda: made.call(Trigger, "manager/bring_up")[0].success)
        made.until(lambda: len(versions) > 2 and len(steps) > 20)
        assert versions[-1].version > last  # not from the first version on again


def test_a_killed_bridge_makes_the_others_inactive(tmp_path, tiny):
    with client() as made, start(tmp_path, endless(tiny)) as processes:
        seen = made.listen(Observation, "observation", qos.OFFERED_NEWEST)
        made.until(lambda: seen)
        send(processes, "bridge", signal.SIGKILL)
        for node in ("policy", "dreamer"):
            made.until(lambda node=node: state(made, node) == INACTIVE, 30.0)


def test_every_node_of_a_robot_goes_through_all_its_states(trained):
    with deployed(trained) as rover:
        made = rover.made
        rover.until_it_moves()
        for node in ("robot", "policy", "gate"):
            assert change(made, node, "deactivate")
            assert rover.stays()
            for transition in ("cleanup", "configure", "activate"):
                assert change(made, node, transition), (node, transition)
            rover.made.until(lambda: rover.ask("gate/resume").success)
            rover.until_it_moves()
        assert not change(made, "gate", "configure")  # it is active
        rover.until_it_moves()


def test_a_robot_whose_policy_is_gone_is_deactivated_until_it_is_brought_up(trained):
    with deployed(trained) as rover:
        made = rover.made
        rover.until_it_moves()
        send(rover.processes, "policy", signal.SIGSTOP)
        for node in ("robot", "gate"):
            made.until(lambda node=node: state(made, node) == INACTIVE, 30.0)
        assert "policy is gone" in rover.status["manager"].message
        send(rover.processes, "policy", signal.SIGCONT)
        assert rover.ask("gate/resume").success and rover.stays()  # the gate is inactive still
        made.until(lambda: rover.ask("manager/bring_up").success)
        made.until(lambda: state(made, "gate") == ACTIVE)
        made.until(lambda: rover.ask("gate/resume").success)
        rover.until_it_moves()


@pytest.mark.parametrize("node", ["bridge", "dreamer"])
def test_an_error_while_a_node_is_configured_is_one_line(tmp_path, tiny, capfd, node):
    file = tmp_path / "params.yaml"
    file.write_text("/dreamer: {ros__parameters: {run: /proc/run}}")
    bad = {"bridge": {"battery": "own"}, "dreamer": {"params_file": str(file)}}[node]
    with start(tmp_path / "run", tiny | bad) as processes:
        while not (ended := processes.ended()):
            time.sleep(0.1)
    error = capfd.readouterr().err
    assert node in ended and "Traceback" not in error, error
    assert error.count("error: ") == 1
    assert {"bridge": "has no battery of its own", "dreamer": "cannot be written"}[node] in error
