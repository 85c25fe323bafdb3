"""All graphs by name, for the launch files and the commands of `./swm`."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import suggestion
from spiking_wm_ros.graph.deploy import DEPLOY
from spiking_wm_ros.graph.evaluate_and_dream import DREAM, EVALUATE
from spiking_wm_ros.graph.parts import Graph, NodeSpec, ResolvedGraph, number
from spiking_wm_ros.graph.train import TRAIN
from spiking_wm_ros.graph.view import VIEW

GRAPHS: dict[str, Graph] = {
    "train": TRAIN,
    "dream": DREAM,
    "evaluate": EVALUATE,
    "deploy": DEPLOY,
    "view": VIEW,
}


def resolve_graph(name: str, given: Mapping[str, str]) -> ResolvedGraph:
    """Resolve a graph from the arguments that a user gave.

    Raises:
        UserError: for bad arguments, before anything is started.
    """
    graph = GRAPHS[name]
    declared = {a.name: a.default for a in graph.arguments}
    arguments = declared | {k: v for k, v in given.items() if k in declared}
    for a in graph.arguments:
        if a.choices and arguments[a.name] not in a.choices:
            close = suggestion(arguments[a.name], a.choices)
            raise UserError(f"unknown {a.name} '{arguments[a.name]}'{close}")
    if arguments["params_file"] and not Path(arguments["params_file"]).exists():
        raise UserError(f"params_file:={arguments['params_file']} does not exist")
    resolved = graph.resolve(arguments, {k: v for k, v in given.items() if k not in declared})
    return replace(resolved, nodes=[*_observers(resolved, arguments), *resolved.nodes])


def _observers(resolved: ResolvedGraph, arguments: Mapping[str, str]) -> list[NodeSpec]:
    """Observer nodes (recorder, viewer), which the other nodes do not need."""
    nodes = []
    if resolved.record == "true":
        folder = resolved.run.resolve() / "bags" / time.strftime("%Y%m%d-%H%M%S")
        nodes.append(NodeSpec("recorder", {"folder": str(folder)}, vital=False))
    if resolved.viewer == "true":
        shows = {"port": number(arguments, "viewer_port", int), "robot": arguments.get("robot", "")}
        nodes.append(NodeSpec("viewer", shows, vital=False))
    return nodes
