"""Agents by name: folders of `spiking_wm.agents`, and those of other packages.

Another package brings an agent by an entry point of the group ``spiking_wm.agents``, whose name is the
algorithm's and whose value is the class, or by `register_agent` in the process that uses it.
"""

import importlib
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

from spiking_wm.core.aliases import AGENTS
from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra

if TYPE_CHECKING:
    from spiking_wm.core.contract import Agent

ENTRY_POINTS = "spiking_wm.agents"


class _Registered(NamedTuple):
    agent: "type[Agent]"
    preset: Mapping[str, Any]


_registered: dict[str, _Registered] = {}


def register_agent(name: str, agent: "type[Agent]", preset: Mapping[str, Any] | None = None) -> None:
    """Make an agent of your own known as the algorithm ``name``.

    Args:
        name: what ``algorithm`` takes; lower case letters, digits and underscores.
        agent: a subclass of `spiking_wm.Agent` with ``options_class`` and ``policy_class``.
        preset: options that differ from the defaults of its options class, and of the schedule.

    Raises:
        UserError: for a name that is taken or cannot be one, or a class that lacks something.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"'{name}' cannot name an algorithm: use lower case letters, digits and underscores")
    for attribute in ("options_class", "policy_class"):
        if not isinstance(getattr(agent, attribute, None), type):
            raise UserError(f"{agent.__name__} lacks the class attribute '{attribute}'")
    taken = _registered.get(name)
    if _is_ours(name) or (taken and taken.agent.__qualname__ != agent.__qualname__):
        raise UserError(f"there is an agent '{name}' already: choose another name")
    _registered[name] = _Registered(agent, dict(preset or {}))


def registered_presets() -> dict[str, dict[str, Any]]:
    """Presets of agents that other packages bring, by name."""
    found = {name: {"agent": name} for name in _entry_points()}
    return found | {name: {"agent": name, **entry.preset} for name, entry in _registered.items()}


@cache
def _entry_points() -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def agent_class(name: str) -> "type[Agent]":
    """The `spiking_wm.Agent` of a name.

    Raises:
        UserError: if there is none, or it needs an extra that is not installed.
    """
    name = AGENTS.get(name, name)
    external = _external(name)
    return external if external else _import(name, "agent").Agent


def options_class(name: str) -> type:
    """The options dataclass of an agent; for our own agents this loads no torch.

    Raises:
        UserError: if there is no such agent.
    """
    name = AGENTS.get(name, name)
    external = _external(name)
    return external.options_class if external else _import(name, "options").Options


def _external(name: str) -> "type[Agent] | None":
    if name in _registered:
        return _registered[name].agent
    if name in _entry_points() and not _is_ours(name):
        loaded = _entry_points()[name].load()
        register_agent(name, loaded, getattr(loaded, "preset", None))
        return loaded
    return None


def _is_ours(name: str) -> bool:
    return importlib.util.find_spec(f"spiking_wm.agents.{name}") is not None


def _import(name: str, module: str) -> Any:
    if not _is_ours(name):
        raise UserError(
            f"no agent '{name}': is the package that brings it installed, and its entry point in the"
            f" group '{ENTRY_POINTS}'?"
        )
    with missing_extra():
        return importlib.import_module(f"spiking_wm.agents.{name}.{module}")
