"""Agents by name: folders of `spiking_wm.agents`, and those of other packages.

Another package brings an agent by an entry point of the group ``spiking_wm.agents``, whose name is the
algorithm's and whose value is the class, or by `register_agent` in the process that uses it.
"""

import importlib
import inspect
import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

from spiking_wm.core.aliases import AGENTS
from spiking_wm.core.data import data_folder
from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.core.options import canonical, flattened, known, parse, suggestion
from spiking_wm.core.schedule import Schedule

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
        UserError: for a name that is taken or cannot be one, a class that lacks something, or a preset of
            options that there are not.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(f"{name!r} cannot name an algorithm: use lower case letters, digits and underscores")
    _check_class(agent, name)
    taken = _registered.get(name)
    if _is_ours(name) or (taken and taken.agent.__qualname__ != agent.__qualname__):
        raise UserError(f"there is an algorithm '{name}' already: choose another name")
    if not isinstance(preset, Mapping | None):
        raise UserError(f"the preset of '{name}' is {type(preset).__name__}: give a dictionary of options")
    for option, value in flattened(preset or {}).items():
        of_agent = canonical(agent.options_class, option)
        if not of_agent and not canonical(Schedule, option):
            names = [*known(agent.options_class), *known(Schedule)]
            raise UserError(f"the preset of '{name}' has no parameter '{option}'{suggestion(option, names)}")
        parse(agent.options_class if of_agent else Schedule, option, value)
    _registered[name] = _Registered(agent, dict(preset or {}))


def _check_class(agent: Any, name: str) -> None:
    from spiking_wm.core.contract import Agent, Policy

    if not isinstance(agent, type) or not issubclass(agent, Agent):
        raise UserError(f"the agent '{name}' is {agent!r}: give a subclass of spiking_wm.Agent")
    for attribute, kind in (("options_class", object), ("policy_class", Policy)):
        if not isinstance(found := getattr(agent, attribute, None), type) or not issubclass(found, kind):
            needed = "a subclass of spiking_wm.Policy" if kind is Policy else "a dataclass of options"
            raise UserError(f"{agent.__name__} lacks the class attribute '{attribute}', {needed}")
    for part in (agent, agent.policy_class):
        if inspect.isabstract(part):
            missing = ", ".join(sorted(part.__abstractmethods__))
            raise UserError(f"{part.__name__} does not define {missing}: see its base class")
    options = agent.options_class
    try:
        names = known(options)
    except (TypeError, KeyError):
        raise UserError(
            f"{options.__name__} is no dataclass of options: declare every field by"
            f" spiking_wm.core.options.option(default, text), or group(default)"
        ) from None
    for option in names:
        if canonical(Schedule, option):
            raise UserError(f"{options.__name__}.{option} is an option of the schedule: choose another name")


def registered() -> set[str]:
    """Names of agents that other packages bring."""
    return _entry_points().keys() | _registered.keys()


def registered_preset(name: str) -> dict[str, Any]:
    """The preset of an agent that another package brings.

    Raises:
        UserError: if its entry point cannot be loaded.
    """
    _external(name)
    return {**_registered[name].preset, "agent": name}


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
        point = _entry_points()[name]
        try:
            with missing_extra():
                loaded = point.load()
        except UserError:
            raise
        except Exception as error:
            told = " ".join(str(error).split())
            raise UserError(
                f"the agent '{name}' cannot be loaded from {point.value} ({type(error).__name__}: {told}):"
                f" mend or uninstall the package that brings it"
            ) from error
        register_agent(name, loaded, getattr(loaded, "preset", None))
        return loaded
    return None


def _is_ours(name: str) -> bool:
    """Whether it names an agent or a preset of this package."""
    return _is_our_agent(name) or (data_folder("config") / "algorithms" / f"{name}.yaml").exists()


def _is_our_agent(name: str) -> bool:
    return importlib.util.find_spec(f"spiking_wm.agents.{name}") is not None


def _import(name: str, module: str) -> Any:
    if not _is_our_agent(name):
        raise UserError(
            f"no agent '{name}': is the package that brings it installed, and its entry point in the"
            f" group '{ENTRY_POINTS}'?"
        )
    with missing_extra():
        return importlib.import_module(f"spiking_wm.agents.{name}.{module}")
