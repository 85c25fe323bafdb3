"""Makes every node in this process and prints what it declares, as JSON; run by `test_docs`."""

import json
import os
import sys
import tempfile
from typing import Any

import rclpy
from rclpy.action import get_action_client_names_and_types_by_node, get_action_server_names_and_types_by_node

from test.ros.docs_extension import endpoints

_OF_ROS = ("/rosout", "/parameter_events")  # topics of every node


def made(name: str) -> Any:
    """The node of a module, configured if it is a managed one."""
    node = vars(sys.modules[f"spiking_wm_ros.nodes.{name}"])[endpoints.node_classes()[name]]()
    if hasattr(node, "configure"):
        node.configure()
    return node


def declared(node: Any) -> dict[str, list]:
    """What a node publishes, subscribes to and serves, without what every node of ROS has."""
    found: dict[str, list] = {"serves": []}
    for kind, entities in (("publishes", node.publishers), ("subscribes", node.subscriptions)):
        found[kind] = [
            [e.topic_name, endpoints.type_name(e.msg_type), endpoints.qos_text(e.qos_profile)]
            for e in entities
            if e.topic_name not in _OF_ROS and not e.topic_name.endswith("/transition_event")
        ]
    for service in node.services:
        kind = endpoints.type_name(service.srv_type)
        if kind.partition("/")[0] not in ("rcl_interfaces", "lifecycle_msgs", "type_description_interfaces"):
            found["serves"].append([node.resolve_service_name(service.srv_name), kind])
    where = (node.get_name(), node.get_namespace())
    for kind, actions in (
        ("action server", get_action_server_names_and_types_by_node(node, *where)),
        ("action client", get_action_client_names_and_types_by_node(node, *where)),
    ):
        found[kind] = [[name, of_type.replace("/action/", "/")] for name, (of_type,) in actions]
    parameters = [n for n in node._parameters if not n.startswith(("qos_overrides", "start_type", "use_sim"))]
    return found | {"parameters": parameters}


def main() -> None:
    """Print the declarations of all nodes by their names."""
    with tempfile.TemporaryDirectory() as folder:
        given = {"recorder:folder": f"{folder}/bags", "viewer:port": "0", "viewer:robot": "rover"}
        given |= {"manager:nodes": "bridge policy", "dreamer:run": f"{folder}/run"}
        arguments = [part for name, value in given.items() for part in ("-p", f"{name}:={value}")]
        rclpy.init(args=["test", "--ros-args", *arguments])
        for name in endpoints.node_classes():
            endpoints.endpoints(name)  # imports the module
        nodes = {name: made(name) for name in endpoints.node_classes()}
        print("DECLARED", json.dumps({name: declared(node) for name, node in nodes.items()}), flush=True)
    os._exit(0)  # threads of servers


if __name__ == "__main__":
    main()
