"""The viewer alone, beside graphs that come and go."""

from collections.abc import Mapping
from pathlib import Path

from spiking_wm_ros.graph.parts import SHARED, VIEWER_PORT, Argument, Graph, NodeSpec, Started, number, refuse


def _view(arguments: Mapping[str, str], options: Mapping[str, str]) -> Started:
    refuse(options, arguments)
    shows = {"port": number(arguments, "viewer_port", int), "robot": arguments["robot"]}
    named = {
        a.name: arguments[a.name] for a in _ARGUMENTS if a.name in ("namespace", "params_file", "log_level")
    }
    return Started([NodeSpec("viewer", shows)], Path(), **named)


_ARGUMENTS = (
    VIEWER_PORT,
    Argument("robot", "", "robot whose commands are shown: name of a file in config/robots, or path of one"),
    *(a for a in SHARED if a.name in ("namespace", "params_file", "log_level")),
)
VIEW = Graph("Show a graph that runs on this machine, or will, on a page of this machine.", _ARGUMENTS, _view)
