"""The graph with only the viewer, for graphs that are started and ended separately."""

from collections.abc import Mapping
from pathlib import Path

from spiking_wm_ros.graph.parts import (
    SHARED,
    VIEWER_PORT,
    Argument,
    Graph,
    NodeSpec,
    ResolvedGraph,
    number,
    refuse,
)


def _view(arguments: Mapping[str, str], options: Mapping[str, str]) -> ResolvedGraph:
    refuse(options, arguments)
    shows = {"port": number(arguments, "viewer_port", int), "robot": arguments["robot"]}
    named = {a.name: arguments[a.name] for a in _OF_SHARED}
    return ResolvedGraph([NodeSpec("viewer", shows)], Path(), **named)


_OF_SHARED = tuple(
    a for a in SHARED if a.name in ("namespace", "params_file", "log_level", "use_sim_time", "localhost_only")
)
_ARGUMENTS = (
    VIEWER_PORT,
    Argument("robot", "", "robot whose commands are shown: name of a file in config/robots, or path of one"),
    *_OF_SHARED,
)
VIEW = Graph(
    "Serve a web page on this machine that shows the graph that runs here, now or later.", _ARGUMENTS, _view
)
