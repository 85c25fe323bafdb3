"""What graphs are made of: arguments, nodes, and what several graphs need."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from spiking_wm.chips.backends.registry import backend_options, backends
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint
from spiking_wm.core.options import canonical, known, override, parse, suggestion
from spiking_wm.runs.config import RunConfig, read_config


class Argument(NamedTuple):
    """A launch argument."""

    name: str
    default: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeSpec:
    """One node: executable and name are the same. When a vital one ends, the whole graph ends."""

    executable: str
    parameters: dict[str, Any]
    vital: bool = True


@dataclass(frozen=True)
class Started:
    """A graph that is settled: nodes to start, and what the console should know."""

    nodes: list[NodeSpec]
    run: Path
    namespace: str = ""
    log_level: str = "info"
    params_file: str = ""
    record: str = "false"
    viewer: str = "false"
    viewer_port: str = "8642"
    steps: int = 0


@dataclass(frozen=True)
class Graph:
    """A launchable graph.

    ``resolve`` takes the declared arguments, all as text, and any others as options of algorithm and
    run; it raises `UserError` before anything is started.
    """

    text: str
    arguments: tuple[Argument, ...]
    resolve: Callable[[Mapping[str, str], Mapping[str, str]], Started]


_PERIODS = 1.5  # of control, until what runs a network counts as hung; a gate waits for two

VIEWER_PORT = Argument("viewer_port", "8642", "of 127.0.0.1, where that page is")
SHARED = (
    Argument("namespace", "", "ROS namespace of all nodes"),
    Argument("params_file", "", "ROS parameter file (YAML) applied on top"),
    Argument("record", "false", "write all topics to MCAP files in the run's bags/", ("true", "false")),
    Argument("viewer", "false", "show all on a page of this machine", ("true", "false")),
    VIEWER_PORT,
    Argument("log_level", "info", "log level", ("debug", "info", "warn", "error")),
)
CHECKPOINT = Argument("checkpoint", "", "run folder, for its newest checkpoint, or a checkpoint in one")
BACKEND = Argument(
    "policy_backend",
    "host",
    "what the policy's network runs on; its options can be given besides",
    tuple(backends()),
)
BAG = Argument("bag", "", "folder of recordings (record:=true) to learn from first")
RATE = Argument("rate_hz", "0", "steps per second of wall time; 0 for lock-step, as fast as it goes")


def managed(order: str, nodes: list[NodeSpec], patience: float = 10.0, spare: str = "") -> list[NodeSpec]:
    """The nodes of a graph, and the manager that brings those of ``order`` up."""
    manager = NodeSpec("manager", {"nodes": order, "spare": spare, "patience": patience}, vital=False)
    return [*nodes, manager]


def shared(arguments: Mapping[str, str]) -> dict[str, str]:
    """What every graph is told."""
    return {a.name: arguments[a.name] for a in SHARED}


def checkpoint_of(arguments: Mapping[str, str], name: str = "checkpoint") -> tuple[Path, Path, RunConfig]:
    """A checkpoint, the folder of its run, and that run's config."""
    if not arguments[name]:
        raise UserError(f"{name}:= is missing: give a run folder, as {name}:=runs/NAME")
    checkpoint = newest_checkpoint(Path(arguments[name])).resolve()
    run = checkpoint.parent.parent
    return checkpoint, run, read_config(run)


def newest_of(arguments: Mapping[str, str], name: str = "checkpoint") -> tuple[Path, Path, RunConfig]:
    """The same, for what goes on from it in that folder without being told to take anything back."""
    checkpoint, run, config = checkpoint_of(arguments, name)
    if checkpoint != newest_checkpoint(run).resolve():
        raise UserError(
            f"{name}:={checkpoint} is not the newest of its run: give {run}, or go back to it by"
            f" ./swm train resume:={checkpoint}, which gives up what came after it"
        )
    return checkpoint, run, config


def bag_of(arguments: Mapping[str, str]) -> str:
    """The folder of ``bag:=``, if one is given.

    Raises:
        UserError: if it holds no recordings.
    """
    given = arguments["bag"]
    if given and not list(Path(given).glob("*.mcap")):
        raise UserError(f"bag:={given} holds no .mcap files: give a folder as runs/NAME/bags/…")
    return str(Path(given).resolve()) if given else ""


def number(arguments: Mapping[str, str], name: str, kind: type = float) -> float:
    """An argument that is a number of 0 or more."""
    try:
        given = kind(arguments[name])
    except ValueError:
        given = -1
    if not given >= 0:
        what = "whole number" if kind is int else "number"
        raise UserError(f"{name}:={arguments[name]} is not a {what} of 0 or more")
    return given


def route(
    options: Mapping[str, str], classes_of: Mapping[str, tuple[type, ...]]
) -> tuple[dict[str, dict], dict[str, str]]:
    """Parameters by node, and the options that none of them has."""
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
    """Parameters of the policy node that say what its network runs on, and the options that are left.

    Args:
        arguments: with ``policy_backend``.
        options: those of the backend are taken.
        period: of control, in seconds; 0 in lock-step.

    Raises:
        UserError: for an unknown backend, or a value that it does not take.
    """
    name = arguments["policy_backend"]
    kind = backend_options(name)
    (given, left) = route(options, {"policy": (kind,)})
    usual = {"patience": _PERIODS * period} if period and "patience" in known(kind) else {}
    chosen = usual | given["policy"]
    override(kind(), chosen)
    return {"backend": name, "backend_options": yaml.safe_dump(chosen) if chosen else ""}, left


def refuse(options: Mapping[str, str], arguments: Iterable[str]) -> None:
    """Refuse options where only arguments can be given."""
    for name in options:
        raise UserError(f"unknown argument '{name}'{suggestion(name, list(arguments))}")
