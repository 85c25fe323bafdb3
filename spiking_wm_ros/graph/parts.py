"""Types that describe graphs (arguments, nodes), and functions shared by several graphs."""

from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from spiking_wm.chips.backends.registry import backend_options, backends
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint
from spiking_wm.core.options import canonical, known, override, parse, suggestion
from spiking_wm.runs.config import LOG, RunConfig, is_run, read_config


class Argument(NamedTuple):
    """A launch argument."""

    name: str
    default: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeSpec:
    """One node, named as its executable. When a vital node ends, the whole graph ends."""

    executable: str
    parameters: dict[str, Any]
    vital: bool = True


@dataclass(frozen=True)
class ResolvedGraph:
    """A graph with resolved arguments: the nodes to start, and their parameters.

    ``steps`` is the length of the run for the progress bar; 0 if there is none.
    """

    nodes: list[NodeSpec]
    run: Path
    namespace: str = ""
    log_level: str = "info"
    params_file: str = ""
    record: str = "false"
    viewer: str = "false"
    viewer_port: str = "8642"
    use_sim_time: str = "false"
    localhost_only: str = "environment"
    steps: int = 0

    @property
    def log(self) -> Path | None:
        """Log file of the run; None if the graph acts by a bundle outside of runs."""
        makes_run = any(node.executable == "dreamer" for node in self.nodes)
        return self.run.resolve() / LOG if makes_run or is_run(self.run) else None

    @property
    def reach(self) -> dict[str, str]:
        """Environment variables that say which machines the nodes hear; empty to leave it to the user's."""
        return _REACH[self.localhost_only]

    def enclave(self, node: NodeSpec) -> str:
        """The SROS2 enclave of a node, which counts only where ROS_SECURITY_ENABLE is set."""
        return "/".join(("", *filter(None, self.namespace.split("/")), node.executable))


@dataclass(frozen=True)
class Graph:
    """A launchable graph.

    ``resolve`` receives the declared arguments as text (those that the user gave, then the defaults), and all
    others as options of the algorithm and the run. It raises `UserError` before any node is started.
    """

    text: str
    arguments: tuple[Argument, ...]
    resolve: Callable[[ChainMap[str, str], Mapping[str, str]], ResolvedGraph]


_LARGEST = 2**63 - 1  # of whole numbers in ROS parameters
_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
_REACH = {
    "environment": {},
    "true": {_RANGE: "LOCALHOST"},
    "false": {_RANGE: "SUBNET", "ROS_LOCALHOST_ONLY": ""},  # the older variable would take precedence
}
_PATIENCE = 1.5  # control periods after which a backend counts as hung; the gate waits for two

VIEWER_PORT = Argument("viewer_port", "8642", "port of the viewer's page on 127.0.0.1")
SHARED = (
    Argument("namespace", "", "ROS namespace of all nodes"),
    Argument("use_sim_time", "false", "stamp messages with the time on /clock", ("true", "false")),
    Argument(
        "localhost_only",
        "environment",
        f"hear nodes of this machine only; environment: as {_RANGE} says, with ./swm else true",
        tuple(_REACH),
    ),
    Argument("params_file", "", "ROS parameter file (YAML) applied on top"),
    Argument("record", "false", "write all topics to MCAP files in the run's bags/", ("true", "false")),
    Argument("viewer", "false", "serve a web page on this machine that shows the graph", ("true", "false")),
    VIEWER_PORT,
    Argument("log_level", "info", "log level", ("debug", "info", "warn", "error")),
)
CHECKPOINT = Argument("checkpoint", "", "run folder, for its newest checkpoint, or a checkpoint in one")
BACKEND = Argument(
    "policy_backend",
    "host",
    "what the policy's network runs on; the backend's options can be given too",
    tuple(backends()),
)
BAG = Argument("bag", "", "folder of recordings (record:=true) to learn from first")
CLOCK = Argument(
    "clock", "true", "publish simulation time on clock (/clock if there is no namespace)", ("true", "false")
)
RATE = Argument("rate_hz", "0", "steps per second of wall time; 0: lock-step, as fast as possible")


def managed(order: str, nodes: list[NodeSpec], patience: float = 10.0, spare: str = "") -> list[NodeSpec]:
    """The nodes of a graph, and a manager that configures and activates them.

    Args:
        order: names of the managed nodes, in the order of activation.
        nodes: all nodes.
        patience: seconds without an answer after which a node counts as gone.
        spare: names of managed nodes that the others do not need.
    """
    manager = NodeSpec("manager", {"nodes": order, "spare": spare, "patience": patience}, vital=False)
    return [*nodes, manager]


def shared(arguments: Mapping[str, str]) -> dict[str, str]:
    """Arguments shared by all graphs."""
    return {a.name: arguments[a.name] for a in SHARED}


def checkpoint_of(arguments: Mapping[str, str], name: str = "checkpoint") -> tuple[Path, Path, RunConfig]:
    """A checkpoint, the folder of its run, and the configuration of the run.

    Raises:
        UserError: if no checkpoint is given, or it does not exist.
    """
    if not arguments[name]:
        raise UserError(f"{name}:= is missing: give a run folder, as {name}:=runs/NAME")
    checkpoint = newest_checkpoint(Path(arguments[name])).resolve()
    run = checkpoint.parent.parent
    return checkpoint, run, read_config(run)


def newest_of(arguments: Mapping[str, str], name: str = "checkpoint") -> tuple[Path, Path, RunConfig]:
    """As `checkpoint_of`, for the newest checkpoint of a run only (so that no later one is lost).

    Raises:
        UserError: if it is not the newest one, or as `checkpoint_of`.
    """
    checkpoint, run, config = checkpoint_of(arguments, name)
    if Path(arguments[name]).resolve() != run and checkpoint != newest_checkpoint(run).resolve():
        raise UserError(
            f"{name}:={checkpoint} is not the newest of its run: give {run}, or go back to it by"
            f" ./swm train resume:={checkpoint}, which gives up what came after it"
        )
    return checkpoint, run, config


def bag_of(arguments: Mapping[str, str]) -> str:
    """The absolute folder of ``bag:=``; empty if none is given.

    Raises:
        UserError: if it holds no recordings.
    """
    given = arguments["bag"]
    if given and not list(Path(given).glob("*.mcap")):
        raise UserError(f"bag:={given} holds no .mcap files: give a folder as runs/NAME/bags/…")
    return str(Path(given).resolve()) if given else ""


def number(arguments: Mapping[str, str], name: str, kind: type = float) -> float:
    """An argument that is a number of 0 or more.

    Raises:
        UserError: if it is not, or is a whole number that is too large for a ROS parameter.
    """
    try:
        given = kind(arguments[name])
    except ValueError:
        given = -1
    if not given >= 0 or (kind is int and given > _LARGEST):
        what = "whole number" if kind is int else "number"
        raise UserError(f"{name}:={arguments[name]} is not a {what} of 0 or more")
    return given


def route(
    options: Mapping[str, str], classes_of: Mapping[str, tuple[type, ...]]
) -> tuple[dict[str, dict], dict[str, str]]:
    """Assign options to nodes; returns parameters by node, and the options of no node.

    Args:
        options: values by dotted, flat or former names.
        classes_of: options dataclasses by node.

    Raises:
        UserError: for a value of a wrong type or outside its range.
    """
    left, parameters = dict(options), {}
    for node, classes in classes_of.items():
        parameters[node] = {
            found: parse(options_class, name, left.pop(name))
            for options_class in classes
            for name in list(left)
            if (found := canonical(options_class, name))
        }
    return parameters, left


def backend(
    arguments: Mapping[str, str], options: Mapping[str, str], period: float = 0.0
) -> tuple[dict[str, Any], dict[str, str]]:
    """Parameters of the policy node for its backend, and the remaining options.

    Args:
        arguments: launch arguments, with ``policy_backend``.
        options: options of the backend and others.
        period: control period in seconds; 0 in lock-step.

    Raises:
        UserError: for an unknown backend, or an invalid value of one of its options.
    """
    name = arguments["policy_backend"]
    kind = backend_options(name)
    (given, left) = route(options, {"policy": (kind,)})
    usual = {"patience": _PATIENCE * period} if period and "patience" in known(kind) else {}
    chosen = usual | given["policy"]
    override(kind(), chosen)
    return {"backend": name, "backend_options": yaml.safe_dump(chosen) if chosen else ""}, left


def refuse(options: Mapping[str, str], arguments: Iterable[str]) -> None:
    """Check that no options are given, for graphs that have arguments only.

    Raises:
        UserError: for the first option; the message names a similar argument.
    """
    for name in options:
        raise UserError(f"unknown argument '{name}'{suggestion(name, list(arguments))}")
