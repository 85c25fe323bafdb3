"""Messages that cannot be used, to nodes of a graph that runs on."""

import array
import os
import subprocess
import sys

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.qos import QoSProfile
from spiking_wm_msgs.msg import Action, Array, Decision, Observation, Phase, PolicyVersion
from spiking_wm_msgs.msg import Transition as TransitionMessage
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.bad_messages import BadMessage
from spiking_wm_ros.nodes.gate import GateNode
from spiking_wm_ros.nodes.messages import (
    check_follows,
    check_version,
    from_array,
    parse_spaces,
    phase_name,
    spike_trains,
    to_array,
)
from test.conftest import TINY
from test.ros.deployed import deployed
from test.ros.graph import client
from test.test_command_faults import loads

NO_ARRAY = Array(shape=array.array("I", [7]), values=array.array("f", [1.0]))
HUGE = Array(shape=array.array("I", [2**32 - 1] * 8))
EMPTY_BUT_HUGE = Array(shape=array.array("I", [2**32 - 1] * 4 + [0]))


@pytest.mark.parametrize("message", [NO_ARRAY, HUGE, EMPTY_BUT_HUGE, Array(shape=array.array("I", [1] * 99))])
def test_an_array_whose_shape_and_values_disagree_is_refused(message):
    with pytest.raises(BadMessage, match="an array of shape"):
        from_array(message)


def test_an_array_of_another_shape_than_expected_is_refused():
    assert from_array(to_array(np.zeros(3)), shape=(3,)).shape == (3,)
    with pytest.raises(BadMessage, match=r"shape \(3,\), \(4,\) expected"):
        from_array(to_array(np.zeros(3)), shape=(4,))


def test_unknown_phases_spaces_and_spikes_are_refused():
    with pytest.raises(BadMessage, match="unknown phase 9"):
        phase_name(Phase(phase=9))
    for text in ("", "{", "[]", "{}", '{"observation": 1, "action": 2, "period": 3}'):
        with pytest.raises(BadMessage, match="no description of spaces"):
            parse_spaces(text)
    for ticks, neurons in (([2], [3]), ([2], []), ([2**32 - 1], [2**32 - 1])):
        message = Decision(ticks=array.array("I", ticks), neurons=array.array("I", neurons))
        with pytest.raises(BadMessage, match="0 spikes"):
            spike_trains(message)


def version(number: int, first: int = 0, until: int = 10, path: str = "/nowhere") -> PolicyVersion:
    return PolicyVersion(version=number, first_step=first, until_step=until, path=path)


def test_policy_versions_from_nowhere_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    check_version(version(1, path=__file__))
    bad = [version(0), version(1, 10, 10), version(1, path=str(tmp_path)), version(1, path="/dev/null")]
    bad += [version(1), version(0, path=__file__), version(1, 10, 10, path=__file__)]
    bad += [version(1, path=str(tmp_path / "fifo")), version(1, path="x" * 5000), version(1, path="")]
    for message in bad:
        with pytest.raises(BadMessage, match="policy version"):
            check_version(message)
    check_follows(version(500), PolicyVersion())
    check_follows(version(7, 40), version(6, 30))
    check_follows(version(6, 30), version(6, 30))  # published again
    for message in (version(5, 50), version(6, 20), version(999, 40)):
        with pytest.raises(BadMessage, match="after version 6"):
            check_follows(message, version(6, 30))


def dropped(status: dict[str, DiagnosticStatus], node: str) -> int:
    """How many messages a node says that it has dropped."""
    return figure(status, node, "messages_dropped")


def figure(status: dict[str, DiagnosticStatus], node: str, name: str) -> int:
    """A figure of a node's diagnostics; 0 if there is none."""
    figures = {v.key: v.value for v in status[node].values} if node in status else {}
    return int(figures.get(name, 0))


def listen_to_diagnostics(made) -> dict[str, DiagnosticStatus]:
    status: dict[str, DiagnosticStatus] = {}

    def take(message: DiagnosticArray) -> None:
        status.update({each.name: each for each in message.status})

    made.node.create_subscription(DiagnosticArray, "/diagnostics", take, 10)
    return status


def send(made, topic: str, profile: QoSProfile | int, *messages) -> None:
    """Publish messages once somebody listens; their publisher stays."""
    publisher = made.node.create_publisher(type(messages[0]), topic, profile)
    made.until(publisher.get_subscription_count)
    for message in messages:
        publisher.publish(message)


def test_training_goes_on_whatever_others_publish(tmp_path, capfd):
    run = tmp_path / "run"
    os.mkfifo(tmp_path / "fifo")
    given = {k: str(v) for k, v in (TINY | {"steps": 100_000, "run": run}).items()}
    nowhere = [version(9999), version(0), version(1, path=str(tmp_path)), version(1, path=f"{tmp_path}/fifo")]
    transition = TransitionMessage(observation=NO_ARRAY, action=NO_ARRAY, next_observation=NO_ARRAY)
    with client() as made, Processes(resolve_graph("train", given)) as processes:
        status = listen_to_diagnostics(made)
        versions = made.listen(PolicyVersion, "policy_version", qos.LATCHED)
        answers = made.node.create_publisher(Action, "action", qos.OFFERED_NEWEST)

        def answer(message: Observation) -> None:
            if message.step == 50 and not message.evaluation:
                key = {"episode": message.episode, "step": message.step}
                answers.publish(Action(**key, action=NO_ARRAY))
                answers.publish(Action(**key, action=to_array(np.zeros(9))))

        made.node.create_subscription(Observation, "observation", answer, qos.RECENT)
        made.until(lambda: versions and versions[-1].version > 1)
        # a file that there is not, of the next versions
        nowhere += [version(versions[-1].version + ahead, 10**6, 10**6 + 10) for ahead in (1, 11)]
        for count, message in enumerate(nowhere, start=1):
            send(made, "policy_version", qos.LATCHED, message)
            made.until(lambda count=count: dropped(status, "policy") == count)
        send(made, "phase", qos.LATCHED, Phase(phase=200))
        send(made, "spaces", qos.LATCHED, String(data="nonsense"))
        send(made, "transition", qos.EVERY, transition)
        send(made, "observation", qos.OFFERED_NEWEST, Observation(observation=NO_ARRAY))
        made.until(lambda: dropped(status, "bridge") > len(nowhere) and dropped(status, "dreamer"))
        step = made.until(lambda: figure(status, "dreamer", "step"))
        made.until(lambda: figure(status, "dreamer", "step") > step + 100)
        assert not processes.ended()
    told = capfd.readouterr().err
    assert loads(run)
    assert told.count("dropped a message of policy_version: ") == 2  # bridge and policy, once each
    assert "dropped a message of transition: an array of shape (7,) with 1 values" in told


def test_the_gate_follows_neither_of_two_policies(trained):
    with deployed(trained) as rover:
        rover.until_it_moves()
        node = next(node for node in rover.resolved.nodes if node.executable == "policy")
        # a second one in its own name would be refused on this machine
        command = [sys.executable, "-m", "spiking_wm_ros.nodes.policy", "--ros-args", "-r", "__node:=other"]
        command += ["-p", f"bundle:={node.parameters['bundle']}"]
        with subprocess.Popen(command) as other:
            try:
                configure_and_activate(rover.made, "other")
                rover.stops_within()
                rover.made.until(lambda: "two policies send actions" in rover.status["gate"].message)
                refused = rover.ask("gate/resume")
                assert not refused.success and "end one of them" in refused.message
                assert rover.stays()
            finally:
                other.terminate()
        rover.made.until(lambda: rover.ask("gate/resume").success, 10.0)
        rover.until_it_moves()


def configure_and_activate(made, name: str) -> None:
    """Do for a node what the manager does for its own."""
    for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
        request = ChangeState.Request()
        request.transition.id = transition
        assert made.call(ChangeState, f"{name}/change_state", request)[0].success


def test_a_gate_drops_what_it_does_not_know_and_drives_on(trained):
    with deployed(trained) as rover:
        rover.until_it_moves()
        send(rover.made, "phase", qos.LATCHED, Phase(phase=9, reason="?"))
        send(rover.made, "action", qos.OFFERED_NEWEST, Action(step=10**9, action=NO_ARRAY))
        send(rover.made, "observation", qos.OFFERED_NEWEST, Observation(step=10**9, observation=NO_ARRAY))
        rover.made.until(lambda: dropped(rover.status, "gate") and dropped(rover.status, "robot"))
        assert rover.drives()


def test_the_viewer_goes_on():
    viewer = [sys.executable, "-m", "spiking_wm_ros.nodes.viewer", "--ros-args", "-p", "port:=0"]
    with client() as made, subprocess.Popen(viewer) as process:
        try:
            status = listen_to_diagnostics(made)
            made.until(lambda: "viewer" in status)
            figures = [KeyValue(key="episode_return", value="many"), KeyValue(key="step", value="inf")]
            wrong = DiagnosticStatus(name="dreamer", values=figures)
            send(made, "/diagnostics", 10, DiagnosticArray(status=[wrong]))
            send(made, "phase", qos.LATCHED, Phase(phase=77))
            made.until(lambda: dropped(status, "viewer") == 2)
            assert process.poll() is None
        finally:
            process.terminate()


def test_a_gate_that_is_configured_again_has_not_forgotten_the_emergency_stop():
    rclpy.init()
    node = GateNode()
    try:
        node.on_configure(None)
        node._on_emergency_stop(Bool(data=True))
        for _ in range(2):
            node.on_cleanup(None)
            node.on_configure(None)
            node.on_activate(None)
            answer = node._on_resume(None, Trigger.Response())
            assert not answer.success and "still pressed" in answer.message
            node.on_deactivate(None)
        node._on_emergency_stop(Bool(data=False))
        node.on_cleanup(None)
        node.on_configure(None)
        assert node._gate.tripped  # to let go of it is no resume
        assert node._on_resume(None, Trigger.Response()).success and not node._gate.tripped
    finally:
        node.end()
        node.destroy_node()
        rclpy.shutdown()
