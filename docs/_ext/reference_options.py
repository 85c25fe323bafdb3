"""Reference of options and presets."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from reference_markdown import ROOT, code, page, table


def options_table(options: Any) -> str:
    """Name, default, range and description of every option of an options dataclass."""
    from spiking_wm.core.options import described

    rows = []
    for name, o in described(options).items():
        allowed = ", ".join(map(code, o.choices)) or (str(o.range) if str(o.range) != ".." else "")
        rows.append([f"`{name}`", code(o.default), allowed, o.text])
    return table(["option", "default", "range or choices", "description"], rows)


def agents() -> list[str]:
    """Names of the agents that come with the library."""
    return sorted(path.parent.name for path in (ROOT / "spiking_wm" / "agents").glob("*/options.py"))


def options_page() -> str:
    """Every option of the schedule, of each agent, of batteries and phases, of backends."""
    from spiking_wm.chips.backends.registry import backend_options, backends
    from spiking_wm.core.options import known
    from spiking_wm.core.registry import options_class
    from spiking_wm.core.schedule import Schedule
    from spiking_wm.energy.battery import BatteryOptions
    from spiking_wm.energy.phases import DreamBounds, PhaseOptions
    from spiking_wm.safety.gate import GateOptions

    parts = [
        "Give an option as `name:=value` to `./swm train`, or as a keyword to `spiking_wm.train`. "
        "A group's option is written with a dot, `dream.every:=250`; in Python use a dictionary or `_`: "
        "`dream_every=250`. Defaults are those of the dataclasses: a preset may set others, see "
        "[presets](presets.md) and [options and presets](../../how-to/options-and-presets.md).",
        "## Schedule (every algorithm)",
        options_table(Schedule()),
    ]
    for agent in agents():
        parts += [f"## Agent `{agent}`", options_table(options_class(agent)())]
    parts += ["## Battery", "With `battery:=own` or `battery:=virtual`.", options_table(BatteryOptions())]
    parts += ["## Phases", options_table(PhaseOptions()), "## Dreams of a robot that rests"]
    parts += [options_table(DreamBounds()), "## Safety gate", "In the section `gate` of a robot's file."]
    parts += [options_table(GateOptions())]
    for name in backends():
        if known(backend_options(name)):
            parts += [f"## Backend `{name}`", f"With `policy_backend:={name}`."]
            parts.append(options_table(backend_options(name)()))
    parts += ["## Former names", "Options had these names in earlier versions; both still work."]
    classes = {"schedule": Schedule} | {agent: options_class(agent) for agent in agents()}
    former = [
        [owner, f"`{old}`", f"`{name}`"]
        for owner, of_class in classes.items()
        for name, o in known(of_class).items()
        for old in o.was
    ]
    parts.append(table(["agent", "former name", "name"], former))
    return page("Options", *parts)


def _comment(path: Path) -> str:
    """The comment at the top of a YAML file."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return " ".join(lines)


def algorithm_rows(agent: str) -> list[list[str]]:
    """Name, parent and description of every preset of an agent."""
    from spiking_wm.core.presets import agent_of, algorithms

    rows = []
    for name in algorithms():
        path = ROOT / "config" / "algorithms" / f"{name}.yaml"
        if path.exists() and agent_of(name) == agent:
            said = yaml.safe_load(path.read_text())
            rows.append([f"`{name}`", f"`{said['extends']}`" if "extends" in said else "", _comment(path)])
    return rows


def _settings(values: Mapping[str, Any], agent: str | None) -> list[list[str]]:
    """What a preset sets, by canonical names."""
    from spiking_wm.core.options import canonical, flattened
    from spiking_wm.core.registry import options_class
    from spiking_wm.core.schedule import Schedule

    classes = [Schedule] if agent is None else [options_class(agent), Schedule]
    rows = []
    for name, value in flattened(values).items():
        found = next((f for c in classes if (f := canonical(c, name))), None)
        rows.append([f"`{found or name}`", code(value)])
    return rows


def presets_page() -> str:
    """Every preset, and every file that tunes presets for environments."""
    from spiking_wm.core.presets import agent_of, algorithms

    parts = [
        "A preset is a file `config/algorithms/NAME.yaml`. It extends another preset or names its agent, and "
        "sets options. Files in `config/envs` tune presets for an environment. "
        "[Options and presets](../../how-to/options-and-presets.md) gives the order.",
    ]
    for name in algorithms():
        path = ROOT / "config" / "algorithms" / f"{name}.yaml"
        if not path.exists():  # of another package
            continue
        said = yaml.safe_load(path.read_text())
        agent = agent_of(name)
        facts = [f"Agent `{agent}`."]
        if "extends" in said:
            facts.append(f"Extends `{said['extends']}`.")
        if said.get("published"):
            facts.append("Published constants: takes no tuning for environments.")
        values = {k: v for k, v in said.items() if k not in ("agent", "extends", "published")}
        parts += [f"## `{name}`", f"{_comment(path)}\n\n{' '.join(facts)}"]
        if values:
            parts.append(table(["option", "value"], _settings(values, agent)))
    parts.append("## Tuning for environments")
    for path in sorted((ROOT / "config" / "envs").glob("*.yaml")):
        parts += [f"### `{path.stem}`", _comment(path)]
        for section, values in (yaml.safe_load(path.read_text()) or {}).items():
            agent = agent_of(section) if section in algorithms() else None
            said = f"For `{section}`:" if section != "all" else "For all algorithms:"
            parts += [said, table(["option", "value"], _settings(values, agent))]
    return page("Presets", *parts)
