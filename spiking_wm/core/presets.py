"""Presets: named sets of options, and what they come to for an algorithm in an environment.

An algorithm is a preset, a file ``config/algorithms/NAME.yaml``. It says which other preset it ``extends``;
the root of the chain names its ``agent``, a folder of `spiking_wm.agents` or a registered one. All other
keys are options of the agent or of the schedule; groups are nested or dotted.

``config/envs/ID.yaml`` (``-`` for ``/``) tunes presets for an environment, ``config/envs/NAMESPACE.yaml`` for
all of ``NAMESPACE/…``: the section ``all`` for every algorithm, other sections for presets of their names.

There are three layers: defaults, the preset, what the user gives; the later one wins. Within the preset
``all`` comes first, then for each preset of the chain, root first, its own values and its section's. A preset
with ``published: true`` takes no tuning: it is what its authors published, in every environment.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spiking_wm.core.data import data_folder
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import canonical, flattened, known, override, read_yaml, suggestion
from spiking_wm.core.registry import options_class, registered, registered_preset
from spiking_wm.core.schedule import Schedule

_FACTS = ("agent", "extends", "published")  # keys of a preset that are no options
GIVEN = "command line"


@dataclass(frozen=True)
class Setup:
    """An algorithm in an environment, with all its options resolved.

    ``origins`` says by dotted name where values that are no defaults come from.
    """

    algorithm: str
    agent: str
    agent_options: Any
    schedule: Schedule
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)


class Preset(NamedTuple):
    """One preset of a chain: what it sets, by names as they are written."""

    name: str
    values: dict[str, Any]


def algorithms() -> list[str]:
    """Names that ``algorithm:=`` takes."""
    files = (data_folder("config") / "algorithms").glob("*.yaml")
    return sorted({*(path.stem for path in files), *registered()})


def agent_of(algorithm: str) -> str:
    """The agent of an algorithm.

    Raises:
        UserError: for an unknown algorithm, listing the known ones.
    """
    return _chain(algorithm)[0]


def is_published(algorithm: str) -> bool:
    """True for a preset with ``published: true``, or one that extends such a preset.

    Raises:
        UserError: for an unknown algorithm.
    """
    return _chain(algorithm)[2]


def _read(algorithm: str) -> dict[str, Any]:
    if algorithm not in algorithms():
        raise UserError(f"unknown algorithm '{algorithm}'{suggestion(str(algorithm), algorithms())}")
    file = data_folder("config") / "algorithms" / f"{algorithm}.yaml"
    return read_yaml(file) if file.exists() else registered_preset(algorithm)


def _chain(algorithm: str) -> tuple[str, list[Preset], bool]:
    """The agent, the presets from the root to ``algorithm``, and whether it is as published."""
    chain: list[Preset] = []
    name, published, agent = algorithm, False, None
    while agent is None:
        said = _read(name)
        chain.insert(0, Preset(name, {k: v for k, v in said.items() if k not in _FACTS}))
        published = published or bool(said.get("published"))
        agent = said.get("agent")
        if agent is None and "extends" not in said:
            raise UserError(f"the preset '{name}' says neither 'agent:' nor what it 'extends:'")
        name = said.get("extends", name)
        if agent is None and any(name == preset.name for preset in chain):
            raise UserError(f"the preset '{algorithm}' extends itself, by way of '{name}'")
    return agent, chain, published


def _tuning(env_id: str) -> list[tuple[str, Preset]]:
    """Sections for an environment with their names, those of its namespace first."""
    sections = []
    for name in dict.fromkeys((env_id.partition("/")[0], env_id.replace("/", "-"))):
        file = data_folder("config") / "envs" / f"{name}.yaml"
        for section, said in (read_yaml(file) if file.exists() else {}).items():
            if not isinstance(said, dict):
                raise UserError(f"{file}: '{section}' stands alone: put it into the section 'all:'")
            sections.append((section, Preset(f"{section} in {name}", said)))
    return sections


def _layers(algorithm: str, env_id: str) -> tuple[str, list[Preset]]:
    """The agent, and all that a preset comes to, first to last."""
    agent, chain, published = _chain(algorithm)
    if published:
        return agent, chain
    sections = [("all", Preset("all", {})), *((preset.name, preset) for preset in chain), *_tuning(env_id)]
    names = ["all", *(preset.name for preset in chain)]
    return agent, [section for name in names for of, section in sections if of == name]


def by_dotted_name(agent: str, given: Mapping[str, Any], layer: str = GIVEN) -> dict[str, Any]:
    """Options of an agent and of the schedule by their dotted names.

    Args:
        agent: its name.
        given: values by dotted, flat or former names, or nested.
        layer: where they come from.

    Raises:
        UserError: for a name that is not known, or an option that comes twice.
    """
    of_agent = options_class(agent)
    named: dict[str, tuple[str, Any]] = {}
    where = "" if layer == GIVEN else f" in the preset '{layer}'"
    for name, value in flattened(given).items():
        found = canonical(of_agent, name) or canonical(Schedule, name)
        if found is None:
            names = [*known(of_agent), *known(Schedule)]
            raise UserError(f"unknown parameter '{name}'{where}{suggestion(name, names)}")
        if found in named:
            names = [named[found][0], name]
            raise UserError(f"{' and '.join(map(repr, names))} are the same option{where}: give it once")
        named[found] = name, value
    return {found: value for found, (_, value) in named.items()}


def resolve(algorithm: str, env_id: str, given: Mapping[str, Any]) -> Setup:
    """All options of an algorithm in an environment: defaults < preset < given.

    Args:
        algorithm: name of a preset.
        env_id: id of the environment, for its tuning.
        given: values by dotted, flat or former names, or nested.

    Raises:
        UserError: for an unknown algorithm or option, one that comes twice, or a value out of range.
    """
    agent, layers = _layers(algorithm, env_id)
    chosen: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in [*layers, Preset(GIVEN, dict(given))]:
        named = by_dotted_name(agent, layer.values, layer.name)
        chosen |= named
        origins |= dict.fromkeys(named, layer.name)
    return _setup(algorithm, agent, chosen, origins)


def as_recorded(algorithm: str, recorded: Mapping[str, Any], origins: Mapping[str, str]) -> Setup:
    """An algorithm with recorded options: presets, which may have changed since, do not touch them.

    Options that did not exist when they were recorded have their defaults, which do as was done before.

    Args:
        algorithm: name of a preset.
        recorded: values by dotted, flat or former names.
        origins: where values come from, by dotted name.

    Raises:
        UserError: as `resolve`.
    """
    agent = agent_of(algorithm)
    return _setup(algorithm, agent, by_dotted_name(agent, recorded), origins)


def _setup(algorithm: str, agent: str, chosen: Mapping[str, Any], origins: Mapping[str, str]) -> Setup:
    of_agent = options_class(agent)
    return Setup(
        algorithm,
        agent,
        override(of_agent(), {k: v for k, v in chosen.items() if k in known(of_agent)}),
        override(Schedule(), {k: v for k, v in chosen.items() if k in known(Schedule)}),
        origins,
    )
