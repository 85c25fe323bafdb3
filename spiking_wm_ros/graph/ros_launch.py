"""The graphs as ROS 2 launch descriptions; only this module and `launched` need `launch` and `launch_ros`."""

import inspect
import shlex
from collections.abc import Mapping
from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.utilities import normalize_to_list_of_substitutions, perform_substitutions

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from spiking_wm_ros.graph.claims import claim_graph
from spiking_wm_ros.graph.launched import LaunchedGraph, ctrl_c
from spiking_wm_ros.graph.ros_check import check_ros
from spiking_wm_ros.graph.specification import GRAPHS, is_option, resolve_graph

_OF_LAUNCH = ("launch-prefix", "launch-prefix-filter")  # given as arguments, but heeded by `launch`
_runs: set[Path] = set()  # of the graphs that this process has launched


def description(name: str) -> LaunchDescription:
    """The launch description of ``launch/NAME.launch.py``.

    Declared arguments are launch configurations, inherited as ever. Options of the algorithm are not
    declared: those count that this file is given, on the command line or by the file that includes it.
    """
    declared = [
        DeclareLaunchArgument(
            a.name, default_value=a.default, description=a.text, choices=list(a.choices) or None
        )
        for a in GRAPHS[name].arguments
    ]
    include = _including()

    def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
        # `launch` reads a source once, however often it is included: by whom is known the first time only
        nonlocal include
        by, include = include, None
        ctrl_c.hold()
        try:
            with ctrl_c.kept_back():
                graph = _resolved(name, context, by)
        except BaseException:
            ctrl_c.release()
            raise
        if ctrl_c.pressed:
            ctrl_c.release()
            return []
        return graph.actions

    return LaunchDescription([*declared, OpaqueFunction(function=start)])


def _including() -> IncludeLaunchDescription | None:
    """The action that includes the launch file being read; `launch` tells it in no other way."""
    frame = inspect.currentframe()
    while frame:
        if isinstance(found := frame.f_locals.get("self"), IncludeLaunchDescription):
            return found
        frame = frame.f_back
    return None


def _given(name: str, context: LaunchContext, include: IncludeLaunchDescription | None) -> dict[str, str]:
    """What a user gave to a graph, of all launch configurations.

    If the include is not known, the names of options count, whoever gave them.
    """
    defaults = {a.name: a.default for a in GRAPHS[name].arguments}  # `launch` gives them as values
    values = context.launch_configurations
    if include:
        names = [normalize_to_list_of_substitutions(argument) for argument, _ in include.launch_arguments]
        options = [perform_substitutions(context, argument) for argument in names]
    else:
        options = [option for option in values if is_option(option)]
    own = {option: values[option] for option in options if option not in (*defaults, *_OF_LAUNCH)}
    given = {key: values[key] for key, value in defaults.items() if values[key] != value}
    return given | own | _namespace(given.get("namespace", ""), values.get("ros_namespace", ""))


def _namespace(own: str, pushed: str) -> dict[str, str]:
    """The namespace inside one that was pushed (`PushRosNamespace`), unless it is absolute."""
    parts = [pushed, own] if pushed and not own.startswith("/") else [own]
    whole = "/".join(part.strip("/") for part in parts if part.strip("/"))
    return {"namespace": whole} if whole else {}


def _resolved(name: str, context: LaunchContext, include: IncludeLaunchDescription | None) -> LaunchedGraph:
    check_ros()
    given = _given(name, context, include)
    resolved = resolve_graph(name, given)
    if resolved.run in _runs and not given.keys() & {"run", "resume"} and name == "train":
        # begun within the same second as another one
        given["run"] = f"{resolved.run}_{resolved.namespace.replace('/', '_')}"
        resolved = resolve_graph(name, given)
    _runs.add(resolved.run)
    claim = claim_graph(resolved.namespace, anywhere=False) if name != "view" else None
    return LaunchedGraph(name, resolved, claim, _command(name, given), context)


def _command(name: str, given: Mapping[str, str]) -> str:
    """A command that starts the graph again, wherever this one was included."""
    arguments = [f"{key}:={value}" for key, value in given.items()]
    return shlex.join(["ros2", "launch", "spiking_wm_ros", f"{name}.launch.py", *arguments])
