"""The graphs as ROS 2 launch descriptions; the only module that needs `launch` and `launch_ros`."""

from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription
from spiking_wm_ros.graph.specification import GRAPHS, resolve_graph


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
    given = {k: v for k, v in context.launch_configurations.items() if not k.startswith("ros_")}
    resolved = resolve_graph(name, given)
    return [
        Node(
            package="spiking_wm_ros",
            executable=node.executable,
            namespace=resolved.namespace,
            parameters=[node.parameters, *([resolved.params_file] if resolved.params_file else [])],
            arguments=["--ros-args", "--log-level", resolved.log_level],
            output="screen",
            sigterm_timeout="6",
            on_exit=Shutdown(reason=f"{node.executable} ended") if node.vital else None,
        )
        for node in resolved.nodes
    ]
