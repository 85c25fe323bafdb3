"""Reference of robots, environments, modules and the Python API."""

import inspect
from dataclasses import MISSING, fields
from typing import Any

from reference_markdown import ROOT, code, first_line, page, prose, table
from reference_options import options_table


def _keys(of_class: type) -> str:
    rows = []
    for f in fields(of_class):
        default = "required" if f.default is MISSING else code(f.default)
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
        prose(Reading.__doc__),
        _keys(Reading),
        "## The command",
        prose(Command.__doc__),
        _keys(Command),
        "## The gate",
        options_table(GateOptions()),
    ]
    for name in robots():
        text = (ROOT / "config" / "robots" / f"{name}.yaml").read_text().rstrip()
        parts += [f"## `{name}`", f"```yaml\n{text}\n```"]
    return page("Robots", *parts)


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
        parts += [f"## `{module}`", first_line(path), table(["id", "longest episode, in steps"], rows)]
    return page("Environments", *parts)


def modules_page() -> str:
    """Where what is: every module with the first paragraph of its docstring."""
    parts = []
    for package in ("spiking_wm", "spiking_wm_ros"):
        folders = sorted({path.parent for path in (ROOT / package).rglob("*.py")})
        for folder in folders:
            name = ".".join(folder.relative_to(ROOT).parts)
            init = folder / "__init__.py"
            rows = [
                [f"`{p.stem}`", first_line(p)] for p in sorted(folder.glob("*.py")) if p.stem != "__init__"
            ]
            parts += [f"## `{name}`", first_line(init) if init.exists() else ""]
            parts.append(table(["module", "what it is"], rows) if rows else "")
    return page("Modules", *parts)


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
    return page("Python API", *parts)


AUTHORS = {
    "spiking_wm.core.contract": ("Transition", "Budget", "DreamProgress"),
    "spiking_wm.core.spaces": ("Spaces",),
    "spiking_wm.core.options": ("option", "group"),
    "spiking_wm.training.evaluation": ("Returns",),
}
