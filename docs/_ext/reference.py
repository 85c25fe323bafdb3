"""Writes ``docs/reference/generated/`` from the code each time the documentation is built.

Every function ending in ``_page`` gives one page as Markdown; `PAGES` names their files.
"""

import ast
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import yaml

from spiking_wm_ros.graph.endpoints import (
    KINDS,
    endpoints,
    node_classes,
    option_classes,
    profiles,
    qos_text,
)

ROOT = Path(__file__).resolve().parents[2]
GENERATED = "reference/generated"
# what services and actions do, by their full names; a missing one is an error
SERVICES = {
    "bridge/reset": "Truncates the episode at its next step. The next episode may get a chosen seed.",
    "dreamer/dream": "Starts a dream phase of `dream.rollouts` rollouts.",
    "dreamer/end_dream": "Ends a dream phase.",
    "dreamer/save_checkpoint": "Writes a checkpoint. The log says where.",
    "dreamer/dream_phase": "Dreams within a budget of rollouts, updates, seconds or joules. "
    "Sends feedback, can be cancelled.",
    "gate/stop": "Commands the safe action from now on.",
    "gate/resume": "Follows commands again, once they come steadily.",
    "manager/bring_up": "Configures and activates the managed nodes that are not active.",
    "scheduler/sleep": "Asks the robot to sleep and dream.",
    "scheduler/wake": "Wakes the robot up, unless its battery is low.",
    "scheduler/stop": "Emergency stop: nothing moves.",
    "scheduler/resume": "Ends an emergency stop, unless it is still pressed.",
}


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; ``|`` in cells is escaped."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in row) + " |" for row in lines) + "\n"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _code(value: Any) -> str:
    text = "''" if value == "" else str(list(value) if isinstance(value, tuple) else value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


# --- options and presets ---


def options_table(options: Any) -> str:
    """Name, default, range and description of every option of an options dataclass."""
    from spiking_wm.core.options import described

    rows = []
    for name, o in described(options).items():
        allowed = ", ".join(map(_code, o.choices)) or (str(o.range) if str(o.range) != ".." else "")
        rows.append([f"`{name}`", _code(o.default), allowed, o.text])
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
    return _page("Options", *parts)


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
        rows.append([f"`{found or name}`", _code(value)])
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
    return _page("Presets", *parts)


# --- the command line and the graphs ---


def commands_page() -> str:
    """Every verb of `./swm`."""
    from spiking_wm_ros.cli.__main__ import app

    rows = []
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        rows.append([f"`./swm {name}`", " ".join((command.callback.__doc__ or "").split())])
    programs = []
    for folder, verb in (("experiments", "experiment"), ("bench", "bench")):
        for path in sorted((ROOT / folder).glob("[a-z]*.py")):
            programs.append([f"`./swm {verb} {path.stem}`", _first_line(path)])
    return _page(
        "Commands",
        "Arguments are given as `name:=value`. `./swm VERB --help` and `./swm VERB --show-args` list them.",
        table(["command", "what it does"], rows),
        "## Experiments and benchmarks",
        table(["command", "what it measures"], programs),
    )


def launch_page() -> str:
    """Every argument of every launch file."""
    from spiking_wm_ros.graph.specification import GRAPHS

    parts = ["`./swm NAME` and `ros2 launch spiking_wm_ros NAME.launch.py` take the same arguments."]
    for name, graph in GRAPHS.items():
        rows = [
            [f"`{a.name}`", _code(a.default), ", ".join(map(_code, a.choices)), a.text]
            for a in graph.arguments
        ]
        parts += [f"## `{name}.launch.py`", graph.text]
        parts.append(table(["argument", "default", "choices", "description"], rows))
    return _page("Launch arguments", *parts)


def nodes_page() -> str:
    """Topics, services, actions and parameters of every node."""
    shared = [[f"`{name}`", qos_text(profile)] for name, profile in profiles().items()]
    parts = [
        "All names are relative to `namespace:=`, except `/clock` and `/diagnostics`; `~` is the node. "
        "`COMMAND` and `SENSOR` are topics that the robot's file names. Managed nodes also have the services "
        "and the topic of every ROS 2 lifecycle node. Only the scheduler's parameters can be changed.",
        "## Topics",
        topics_table(),
        "## Services and actions",
        services_table(),
        "## QoS profiles",
        table(["profile", "meaning"], shared),
    ]
    for name in node_classes():
        parts += [f"## Node `{name}`", _first_line(ROOT / "spiking_wm_ros" / "nodes" / f"{name}.py")]
        rows = [[e.kind, f"`{e.name}`", f"`{e.type}`", e.qos] for e in endpoints(name)]
        parts.append(table(["", "name", "type", "QoS"], rows))
        for options in option_classes(name):
            if options == "algorithm":
                parts.append("And every option of the algorithm's agent: see [options](options.md).")
            else:
                parts.append(options_table(options()).replace("| option |", "| parameter |", 1))
    parts.append("## Message types")
    for path in sorted((ROOT / "interfaces" / "spiking_wm_msgs").glob("*/*.*")):
        kind = path.parent.name
        if kind in ("msg", "srv", "action"):
            parts += [
                f"### `spiking_wm_msgs/{kind}/{path.stem}`",
                f"```text\n{path.read_text().rstrip()}\n```",
            ]
    return _page("Nodes, topics, services, actions, parameters", *parts)


def topics_table() -> str:
    """Every topic with its type, who publishes and who subscribes."""
    said: dict[tuple[str, str], dict[str, list[str]]] = {}
    for node in node_classes():
        for e in endpoints(node):
            if e.kind in KINDS[:2]:
                of_topic = said.setdefault((e.name, e.type), {kind: [] for kind in KINDS[:2]})
                of_topic[e.kind].append(f"{node} ({e.qos})")
    rows = [
        [f"`{name}`", f"`{kind}`", "; ".join(who["publishes"]), "; ".join(who["subscribes"])]
        for (name, kind), who in sorted(said.items())
    ]
    return table(["topic", "type", "publishers", "subscribers"], rows)


def services() -> dict[str, str]:
    """Type of every service and action by its full name."""
    found = {}
    for node in node_classes():
        for e in endpoints(node):
            if e.kind in ("serves", "action server"):
                kind = f"action `{e.type}`" if e.kind == "action server" else f"`{e.type}`"
                found[e.name.replace("~", node)] = kind
    return found


def services_table() -> str:
    """Every service and action with what it does."""
    rows = [[f"`{name}`", kind, SERVICES[name]] for name, kind in services().items()]
    return table(["name", "type", "what it does"], rows)


# --- robots, environments, modules ---


def _keys(of_class: type) -> str:
    rows = []
    for f in fields(of_class):
        default = "required" if f.default is MISSING else _code(f.default)
        kind = f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type))
        rows.append([f"`{f.name}`", f"`{kind}`", default])
    return table(["key", "type", "default"], rows)


def robots_page() -> str:
    """Keys of a robot's file, and the robots that come with the package."""
    from spiking_wm.robots.description import Command, Reading, robots
    from spiking_wm.safety.gate import GateOptions

    parts = [
        "A robot is a file `config/robots/NAME.yaml`, or any file given as `robot:=/path/to/own.yaml`, with "
        "`period` (seconds), `observation` (a list of readings), `command`, and optionally `gate` and "
        "`driver` (the executable that `simulated:=true` starts). "
        "See [your robot](../../tutorials/your-robot.md).",
        "## A reading",
        _prose(Reading.__doc__),
        _keys(Reading),
        "## The command",
        _prose(Command.__doc__),
        _keys(Command),
        "## The gate",
        options_table(GateOptions()),
    ]
    for name in robots():
        text = (ROOT / "config" / "robots" / f"{name}.yaml").read_text().rstrip()
        parts += [f"## `{name}`", f"```yaml\n{text}\n```"]
    return _page("Robots", *parts)


def _prose(docstring: str | None) -> str:
    """A docstring as Markdown."""
    return "\n".join(line.strip() for line in (docstring or "").splitlines()).replace("``", "`").strip()


def environments_page() -> str:
    """Ids of the environments that the library registers."""
    import gymnasium

    import spiking_wm.envs  # noqa: F401, registers them

    groups: dict[str, list[list[str]]] = {}
    for env_id, spec in gymnasium.registry.items():
        if str(spec.entry_point).startswith("spiking_wm."):
            module = str(spec.entry_point).partition(":")[0]
            longest = spec.max_episode_steps or "set by the task"
            groups.setdefault(module, []).append([f"`{env_id}`", longest])
    parts = [
        "`env:=` takes any Gymnasium id, `module:Id-v0`, or `module:function` (a function that makes an "
        "environment). These ids are registered by this package. Every game of the Atari console is there "
        "besides, as `atari/NAME-v0` and, with sticky actions, `atari/NAME-sticky-v0` (extra `atari`).",
    ]
    for module, rows in groups.items():
        path = ROOT / (module.replace(".", "/") + ".py")
        parts += [f"## `{module}`", _first_line(path), table(["id", "longest episode, in steps"], rows)]
    return _page("Environments", *parts)


def _first_line(path: Path) -> str:
    """First paragraph of a module's docstring."""
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    return _prose(said.partition("\n\n")[0])


def modules_page() -> str:
    """Where what is: every module with the first paragraph of its docstring."""
    parts = []
    for package in ("spiking_wm", "spiking_wm_ros"):
        folders = sorted({path.parent for path in (ROOT / package).rglob("*.py")})
        for folder in folders:
            name = ".".join(folder.relative_to(ROOT).parts)
            init = folder / "__init__.py"
            rows = [
                [f"`{p.stem}`", _first_line(p)] for p in sorted(folder.glob("*.py")) if p.stem != "__init__"
            ]
            parts += [f"## `{name}`", _first_line(init) if init.exists() else ""]
            parts.append(table(["module", "what it is"], rows) if rows else "")
    return _page("Modules", *parts)


def public_names(module: Any) -> list[str]:
    """``__all__`` of a module, else the functions and classes that it defines."""
    defined = [n for n, thing in vars(module).items() if getattr(thing, "__module__", "") == module.__name__]
    return getattr(module, "__all__", [name for name in defined if not name.startswith("_")])


def api_page() -> str:
    """The public names of the library, for autodoc."""
    import spiking_wm
    import spiking_wm.testing

    parts = [
        "Names of `import spiking_wm`. What a heavy package is needed for is loaded at the first use. "
        "Errors that a user can correct are `UserError`, with one line of text.",
    ]
    for module in (spiking_wm, spiking_wm.testing):
        parts.append(f"## `{module.__name__}`")
        for name in sorted(public_names(module), key=lambda n: (inspect.isclass(getattr(module, n)), n)):
            thing = getattr(module, name)
            kind = "autoclass" if inspect.isclass(thing) else "autofunction"
            members = (
                "\n   :members:\n" if kind == "autoclass" and thing is not spiking_wm.UserError else "\n"
            )
            lines = f".. {kind}:: {module.__name__}.{name}{members}"
            parts.append(f"```{{eval-rst}}\n{lines}```")
    parts.append("## For authors of algorithms")
    for module, members in AUTHORS.items():
        names = ",".join(members)
        parts.append(f"```{{eval-rst}}\n.. automodule:: {module}\n   :members: {names}\n```")
    return _page("Python API", *parts)


AUTHORS = {
    "spiking_wm.core.contract": ("Transition", "Budget", "DreamProgress"),
    "spiking_wm.core.spaces": ("Spaces",),
    "spiking_wm.core.options": ("option", "group"),
    "spiking_wm.training.evaluation": ("Returns",),
}
PAGES: dict[str, Callable[[], str]] = {
    "python-api": api_page,
    "options": options_page,
    "presets": presets_page,
    "commands": commands_page,
    "launch-arguments": launch_page,
    "nodes": nodes_page,
    "robots": robots_page,
    "environments": environments_page,
    "modules": modules_page,
}


def write(folder: Path) -> None:
    """Write all pages, and a table of presets for each agent; a file that stays the same is left alone."""
    texts = {name: make() for name, make in PAGES.items()}
    head = ["`algorithm:=`", "extends", "what it is"]
    texts |= {f"presets-{agent}": table(head, algorithm_rows(agent)) for agent in agents()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / GENERATED))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
