"""All graphs by name, for the launch files and the commands of `./swm`."""

import socket
import time
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import replace

from spiking_wm.chips.backends.registry import backend_options, backends
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import canonical, suggestion
from spiking_wm.core.presets import agent_of, algorithms
from spiking_wm.core.registry import options_class
from spiking_wm.core.schedule import Schedule
from spiking_wm_ros.graph.checks import (
    check_folder,
    check_namespace,
    check_parameters,
    check_port,
    check_rate,
)
from spiking_wm_ros.graph.claims import claim_graph, domain
from spiking_wm_ros.graph.deploy import DEPLOY
from spiking_wm_ros.graph.evaluate_and_dream import DREAM, EVALUATE
from spiking_wm_ros.graph.parts import Graph, NodeSpec, ResolvedGraph, number
from spiking_wm_ros.graph.train import ENERGY, TRAIN
from spiking_wm_ros.graph.view import VIEW

GRAPHS: dict[str, Graph] = {
    "train": TRAIN,
    "dream": DREAM,
    "evaluate": EVALUATE,
    "deploy": DEPLOY,
    "view": VIEW,
}
_ANYWHERE = ("train", "dream", "evaluate")  # graphs that talk to no driver


def resolve_graph(name: str, given: Mapping[str, str]) -> ResolvedGraph:
    """Resolve a graph from the arguments that a user gave.

    Raises:
        UserError: for bad arguments, before anything is started.
    """
    graph = GRAPHS[name]
    declared = {a.name: a.default for a in graph.arguments}
    arguments = ChainMap({k: v for k, v in given.items() if k in declared}, declared)
    for a in graph.arguments:
        if a.choices and arguments[a.name] not in a.choices:
            close = suggestion(arguments[a.name], a.choices)
            raise UserError(f"unknown {a.name} '{arguments[a.name]}'{close}")
    namespace = check_namespace(arguments["namespace"])
    check_rate(number(arguments, "rate_hz") if "rate_hz" in arguments else 0.0)
    if arguments["params_file"]:
        check_parameters(arguments["params_file"])
    resolved = graph.resolve(arguments, {k: v for k, v in given.items() if k not in declared})
    nodes = [*_observers(resolved, arguments), *resolved.nodes]
    if resolved.use_sim_time == "true":  # else it is left to the files that include this graph
        nodes = [replace(node, parameters=node.parameters | {"use_sim_time": True}) for node in nodes]
    serves = any(node.executable == "viewer" for node in nodes)
    check_port(number(arguments, "viewer_port", int), serves)
    if name in ("train", "dream"):
        check_folder(resolved.run)
    return replace(resolved, nodes=nodes, namespace=namespace)


def is_option(name: str) -> bool:
    """True if an option of some graph that no graph declares as an argument has this name."""
    agents = {agent_of(algorithm) for algorithm in algorithms()}
    of_nodes = (Schedule, *(kind for kinds in ENERGY.values() for kind in kinds))
    kinds = [*map(options_class, agents), *map(backend_options, backends()), *of_nodes]
    return any(canonical(kind, name) for kind in kinds)


def claim_domain(name: str, namespace: str) -> socket.socket | None:
    """Claim the ROS domain that `./swm` starts a graph in, and say which if another graph runs in domain 0.

    A graph of `_ANYWHERE` takes a domain of its own, unless ROS_DOMAIN_ID says otherwise; that of a robot has
    to be where its driver is; observers may be anywhere.

    Raises:
        UserError: if another graph has the domain's namespace.
    """
    if name == "view":
        return None
    asked = domain()
    claimed = claim_graph(namespace, name in _ANYWHERE)
    if domain() != asked:
        print(f"another graph runs in ROS domain {asked}: this one is in domain {domain()}", end="")
        print(f" (to look at it: ROS_DOMAIN_ID={domain()} ./swm view)", flush=True)
    return claimed


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
