"""The graphs as ROS 2 launch descriptions; the only module that needs `launch` and `launch_ros`."""

import shlex
import socket

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from spiking_wm_ros.graph.claims import claim_graph
from spiking_wm_ros.graph.log import environment_of_nodes
from spiking_wm_ros.graph.processes import END_WITH_PARENT, patience
from spiking_wm_ros.graph.ros_check import check_ros
from spiking_wm_ros.graph.specification import GRAPHS, resolve_graph

_claims: list[socket.socket] = []  # of the graphs that this process has launched


def description(name: str) -> LaunchDescription:
    """The launch description of ``launch/NAME.launch.py``.

    Every ``option:=value`` on the command line is passed to the graph, declared or not.
    """
    declared = [
        DeclareLaunchArgument(
            a.name, default_value=a.default, description=a.text, choices=list(a.choices) or None
        )
        for a in GRAPHS[name].arguments
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=lambda context: _nodes(name, context))])


def _nodes(name: str, context: LaunchContext) -> list[Node]:
    check_ros()
    defaults = {a.name: a.default for a in GRAPHS[name].arguments}  # `launch` gives them as values
    given = {
        key: value
        for key, value in context.launch_configurations.items()
        if not key.startswith("ros_") and value != defaults.get(key)
    }
    resolved = resolve_graph(name, given)
    if name != "view":
        _claims.append(claim_graph(resolved.namespace, anywhere=False))
    return [
        Node(
            package="spiking_wm_ros",
            executable=node.executable,
            namespace=resolved.namespace,
            parameters=[node.parameters, *([resolved.params_file] if resolved.params_file else [])],
            arguments=["--ros-args", "--log-level", resolved.log_level],
            prefix=shlex.join(END_WITH_PARENT),  # `launch` would leave nodes behind when it is killed
            exec_name=node.executable,  # in its output, instead of the prefix
            additional_env=dict(environment_of_nodes(resolved.log)),
            output="screen",
            sigterm_timeout=f"{patience(node.executable):g}",
            on_exit=Shutdown(reason=f"{node.executable} ended") if node.vital else None,
        )
        for node in resolved.nodes
    ]
