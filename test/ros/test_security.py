"""The SROS2 policy of a graph allows what its nodes do, and no more."""

import subprocess
import sys
from xml.etree import ElementTree

import pytest
from rclpy.action import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node

from spiking_wm.core.errors import UserError
from spiking_wm_ros.cli.__main__ import sros2
from spiking_wm_ros.graph.parts import ResolvedGraph
from spiking_wm_ros.graph.processes import Processes
from spiking_wm_ros.graph.specification import resolve_graph
from spiking_wm_ros.graph.sros2 import sros2_policy
from test.ros.graph import client

Rights = dict[tuple[str, str], set[str]]  # names by element and right
SERVICES = ("send_goal", "cancel_goal", "get_result")  # of actions
TOPICS = ("feedback", "status")

# rights for what does not happen in these graphs, by enclave
OF_A_PAGE = {"decision", "segment", "camera/image_raw/compressed"}  # while a viewer's is open
SPARE_OF_ROBOT = {
    "viewer": {("topics", "subscribe"): OF_A_PAGE},
    "policy": {("topics", "publish"): {"policy_version"}},  # without a dreamer
    "dreamer": {("topics", "subscribe"): {"transition", "spaces"}},  # in training
    "recorder": {("topics", "subscribe"): {"/clock", "emergency_stop", "spaces", "transition", "work"}},
}
SPARE_OF_TRAINING = {"policy": SPARE_OF_ROBOT["policy"]}


def allowed(policy: str) -> dict[str, Rights]:
    """Rights by path of the enclave."""
    found = {}
    for enclave in ElementTree.fromstring(policy).iter("enclave"):
        (profile,) = enclave.iter("profile")
        assert enclave.attrib["path"] == profile.attrib["ns"].rstrip("/") + "/" + profile.attrib["node"]
        of = found[enclave.attrib["path"]] = {}
        for rule in profile:
            ((right, qualifier),) = rule.attrib.items()
            assert qualifier == "ALLOW" and rule.tag[:-1] == next(iter(rule)).tag
            assert (rule.tag, right) not in of
            of[rule.tag, right] = {name.text for name in rule}
    return found


def done(node, name: str, namespace: str) -> Rights:
    """What a node that runs publishes and so on, by the middleware's graph."""
    where = (name, namespace)
    found = {
        ("topics", "publish"): node.get_publisher_names_and_types_by_node(*where),
        ("topics", "subscribe"): node.get_subscriber_names_and_types_by_node(*where),
        ("services", "reply"): node.get_service_names_and_types_by_node(*where),
        ("services", "request"): node.get_client_names_and_types_by_node(*where),
        ("actions", "execute"): get_action_server_names_and_types_by_node(node, *where),
        ("actions", "call"): get_action_client_names_and_types_by_node(node, *where),
    }
    names = {rule: {name for name, _ in of} for rule, of in found.items()}
    for rule, services, topics in (
        (("actions", "execute"), ("services", "reply"), ("topics", "publish")),
        (("actions", "call"), ("services", "request"), ("topics", "subscribe")),
    ):
        for action in names[rule]:  # an action is allowed as a whole
            hidden = {f"{action}/_action/{part}" for part in (*SERVICES, *TOPICS)}
            if hidden <= names[services] | names[topics]:
                names[services] -= hidden
                names[topics] -= hidden
    return {rule: of for rule, of in names.items() if of}


def differences(node, policy: dict[str, Rights]) -> tuple[dict, dict]:
    """What nodes do against the policy, and what it allows and they do not, by enclave."""
    running: dict[str, Rights] = {path: {} for path in policy}
    for name, namespace, path in node.get_node_names_and_namespaces_with_enclaves():
        if path in policy:  # some have two nodes
            for rule, names in done(node, name, namespace).items():
                running[path].setdefault(rule, set()).update(names)
    return subtracted(running, policy), subtracted(policy, running)


def subtracted(some: dict[str, Rights], others: dict[str, Rights]) -> dict[str, Rights]:
    found = {}
    for path, rights in some.items():
        more = {rule: names - others[path].get(rule, set()) for rule, names in rights.items()}
        if more := {rule: names for rule, names in more.items() if names}:
            found[path] = more
    return found


def check(resolved: ResolvedGraph, spare: dict[str, Rights]) -> None:
    """Start a graph, and wait until its policy allows what its nodes do, and what is spare, and no more."""
    policy = allowed(sros2_policy(resolved))
    prefix = f"/{resolved.namespace}".rstrip("/") + "/"
    assert set(policy) == {prefix + node.executable for node in resolved.nodes}
    expected = {
        prefix + name: {
            rule: {name if name.startswith("/") else prefix + name for name in names}
            for rule, names in rights.items()
        }
        for name, rights in spare.items()
    }
    with client() as made, Processes(resolved):
        try:
            made.until(lambda: differences(made.node, policy) == ({}, expected), 120.0)
        except AssertionError:
            assert differences(made.node, policy) == ({}, expected)
            raise


def test_the_policy_of_a_robot_allows_what_its_nodes_do(trained):
    given = {"robot": "rover", "policy": str(trained), "simulated": "true", "dream": "true"}
    given |= {"namespace": "fleet/one", "record": "true", "viewer": "true", "viewer_port": "0"}
    check(resolve_graph("deploy", given), SPARE_OF_ROBOT)


def test_the_policy_of_a_training_allows_what_its_nodes_do(tiny, tmp_path):
    given = tiny | {"steps": "1000000", "run": str(tmp_path / "run"), "battery": "virtual"}
    check(resolve_graph("train", given), SPARE_OF_TRAINING)


def test_the_command_prints_what_create_permission_reads(trained):
    given = (f"policy:={trained}", "robot:=rover", "namespace:=fleet/one")
    command = [sys.executable, "-m", "spiking_wm_ros.cli", "sros2", "deploy", *given]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert printed.startswith("<?xml")
    policy = allowed(printed)
    command = "/fleet/one/wheel_controller/commands"
    assert [path for path, of in policy.items() if command in of["topics", "publish"]] == ["/fleet/one/gate"]
    assert policy["/fleet/one/gate"]["services", "reply"] >= {"/fleet/one/gate/stop"}
    with pytest.raises(UserError, match="unknown graph 'deplo'; did you mean 'deploy'"):
        sros2("deplo")
