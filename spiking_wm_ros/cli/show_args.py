"""`--show-args`: the arguments of a graph and its options, with values, ranges, origins and descriptions."""

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from spiking_wm.chips.backends.registry import backend_options, backends
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import canonical, described, override
from spiking_wm.core.presets import GIVEN, Setup, algorithms, resolve
from spiking_wm_ros.graph.claims import domain
from spiking_wm_ros.graph.parts import checkpoint_of, route
from spiking_wm_ros.graph.specification import GRAPHS, claim_domain
from spiking_wm_ros.graph.train import ENERGY

_DEFAULT = "default"
_WIDTH_OF_FILES = 160  # characters per line if the output is not a terminal


def show_args(graph_name: str, given: Mapping[str, str]) -> None:
    """Print the arguments of a graph and its options, with the values given by the user.

    Raises:
        UserError: for an unknown option or algorithm, or a value outside its range.
    """
    graph = GRAPHS[graph_name]
    width = None if sys.stdout.isatty() else _WIDTH_OF_FILES
    console = Console(width=width, markup=False, emoji=False)
    defaults = {a.name: a.default for a in graph.arguments}
    arguments = defaults | {name: value for name, value in given.items() if name in defaults}
    options = {name: value for name, value in given.items() if name not in defaults}
    console.print(graph.text)
    table = Table(Column("argument", no_wrap=True), "value", "origin", "description", box=None)
    for a in graph.arguments:
        choices = f"; one of: {', '.join(a.choices)}" if a.choices else ""
        origin = GIVEN if a.name in given else _DEFAULT
        table.add_row(a.name, arguments[a.name] or "''", origin, a.text + choices)
    console.print(table)
    _show_domain(console, graph_name, arguments["namespace"])
    if "policy_backend" in arguments:
        options = _show_backends(console, arguments["policy_backend"], options)
    if graph_name == "train":
        _show_training(console, arguments, options)


def _show_domain(console: Console, graph_name: str, namespace: str) -> None:
    """Print the ROS domain in which the graph would start now."""
    try:
        claim_domain(graph_name, namespace)
        found = f"{domain()} (the environment variable ROS_DOMAIN_ID chooses another)"
    except UserError as error:
        found = str(error)
    console.print(f"\nROS domain: {found}", soft_wrap=True)


def _show_backends(console: Console, chosen: str, options: Mapping[str, str]) -> dict[str, str]:
    """Print the options of all backends; returns the options that the chosen one does not have."""
    left = dict(options)
    for name in backends():
        kind, values = backend_options(name), {}
        if name == chosen:
            (parameters, left) = route(options, {name: (kind,)})
            values = parameters[name]
        if described(kind()):
            console.print(f"\nOptions of policy_backend:={name}:")
            _show_options(console, dict.fromkeys(values, GIVEN), override(kind(), values))
    return left


def _show_training(console: Console, arguments: Mapping[str, str], options: Mapping[str, str]) -> None:
    parameters, left = route(options, ENERGY)
    setup, env = _setup(arguments, left)
    console.print("\nbag:=FOLDER learns from recordings alone (./swm train only).")
    console.print(f"\nOptions of {setup.algorithm} in {env}, as option:=value:")
    _show_options(console, _named(setup.origins), setup.schedule, setup.agent_options)
    console.print("\nOptions of battery and phases, with battery:=own or battery:=virtual:")
    for node, classes in ENERGY.items():
        values = parameters[node]
        shown = [
            override(kind(), {name: v for name, v in values.items() if canonical(kind, name)})
            for kind in classes
        ]
        _show_options(console, dict.fromkeys(values, GIVEN), *shown)


def _setup(arguments: Mapping[str, str], options: Mapping[str, str]) -> tuple[Setup, str]:
    """Options of a new run or of the one to resume, and its environment."""
    if arguments["resume"]:
        _, _, config = checkpoint_of(arguments, "resume")
        return config.resolve(options), config.env
    env = arguments["env"]
    return resolve(arguments["algorithm"], env, options), env


def _named(origins: Mapping[str, str]) -> dict[str, str]:
    presets = algorithms()
    return {name: f"preset {origin}" if origin in presets else origin for name, origin in origins.items()}


def _show_options(console: Console, origins: Mapping[str, str], *shown: Any) -> None:
    table = Table(Column("option", no_wrap=True), "value", "range", "origin", "description", box=None)
    for options in shown:
        for name, o in described(options).items():
            allowed = " ".join(map(str, o.choices)) or (str(o.range) if str(o.range) != ".." else "")
            table.add_row(name, str(o.default), allowed, origins.get(name, _DEFAULT), o.text)
    console.print(table)
