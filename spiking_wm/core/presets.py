"""Algorithms and environments, found by the names of their files.

An algorithm is a file ``config/algorithms/NAME.yaml`` whose ``agent:`` names a folder of
`spiking_wm.agents`; its other keys are options of that agent or of the run. What suits one
environment is in ``config/envs/ID.yaml`` (``-`` for ``/``), and what suits all of a namespace, as
``atari/…``, in ``config/envs/NAMESPACE.yaml``: options for every algorithm, and under an agent's or an
algorithm's name options for that one.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import known, override, read_yaml, suggestion
from spiking_wm.core.schedule import RunOptions

if TYPE_CHECKING:
    from spiking_wm.core.contract import Agent


class Setup(NamedTuple):
    """An algorithm, the agent folder that it names, and all its options settled."""

    algorithm: str
    agent: str
    agent_options: Any
    run_options: RunOptions


@cache
def package_folder(name: str) -> Path:
    """A data folder (``config``, ``sim``) of the source tree, or of the installed package."""
    for parent in Path(__file__).resolve().parents:
        share = parent / "share" / "spiking_wm_ros"
        for folder in (parent, share):
            if (folder / "package.xml").is_file() and (folder / name).is_dir():
                return folder / name
    raise UserError(f"the package's folder '{name}' is missing: install it again (colcon build)")


def algorithms() -> list[str]:
    """Names that ``algorithm:=`` takes."""
    return sorted(path.stem for path in (package_folder("config") / "algorithms").glob("*.yaml"))


def agent_class(name: str) -> "type[Agent]":
    """``Agent`` of ``spiking_wm/agents/NAME/agent.py``.

    Raises:
        UserError: if there is none.
    """
    return _import(name, "agent").Agent


def options_class(name: str) -> type:
    """``Options`` of ``spiking_wm/agents/NAME/options.py``; loads no torch.

    Raises:
        UserError: if there is none.
    """
    return _import(name, "options").Options


def _import(name: str, module: str):
    try:
        return importlib.import_module(f"spiking_wm.agents.{name}.{module}")
    except ModuleNotFoundError:
        raise UserError(f"no agent '{name}' in spiking_wm/agents: is this package older?") from None


def agent_of(algorithm: str) -> str:
    """The agent that an algorithm's file names.

    Raises:
        UserError: for an unknown algorithm, listing the known ones.
    """
    if algorithm not in algorithms():
        raise UserError(f"unknown algorithm '{algorithm}'{suggestion(algorithm, algorithms())}")
    return _read_algorithm(algorithm)["agent"]


def _read_algorithm(algorithm: str) -> dict[str, Any]:
    return read_yaml(package_folder("config") / "algorithms" / f"{algorithm}.yaml")


def _suited(env_id: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """What suits an environment: options for every algorithm, and by names of agents and algorithms."""
    suited, sections = {}, {}
    for name in dict.fromkeys((env_id.partition("/")[0], env_id.replace("/", "-"))):
        file = package_folder("config") / "envs" / f"{name}.yaml"
        for key, value in (read_yaml(file) if file.exists() else {}).items():
            if isinstance(value, dict):
                sections[key] = sections.get(key, {}) | value
            else:
                suited[key] = value
    return suited, sections


def settle(algorithm: str, env_id: str, given: dict[str, Any]) -> Setup:
    """All options of an algorithm in an environment: defaults, then files, then what was given.

    Raises:
        UserError: for an unknown algorithm or option, or a value out of range.
    """
    agent = agent_of(algorithm)
    chosen = {k: v for k, v in _read_algorithm(algorithm).items() if k != "agent"}
    suited, sections = _suited(env_id)
    values = suited | sections.get(agent, {}) | chosen | sections.get(algorithm, {}) | given
    of_agent, of_run = known(options_class(agent)), known(RunOptions)
    for name in values:
        if name not in of_agent and name not in of_run:
            raise UserError(f"unknown parameter '{name}'{suggestion(name, [*of_agent, *of_run])}")
    return Setup(
        algorithm,
        agent,
        override(options_class(agent)(), {k: v for k, v in values.items() if k in of_agent}),
        override(RunOptions(), {k: v for k, v in values.items() if k in of_run}),
    )
