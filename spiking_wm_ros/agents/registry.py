"""Algorithms and environments, found by the names of their files.

An algorithm is a file ``config/algorithms/NAME.yaml`` whose ``agent:`` names a folder of
`spiking_wm_ros.agents`; its other keys are options of that agent or of the run. What suits one
environment is in ``config/envs/ID.yaml``: options for every algorithm, and under an agent's or an
algorithm's name options for that one.
"""

import importlib
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from spiking_wm_ros.agents.contract import Agent
from spiking_wm_ros.agents.options import known, override, read_yaml, suggestion
from spiking_wm_ros.agents.run_options import RunOptions
from spiking_wm_ros.errors import UserError


class Setup(NamedTuple):
    """An algorithm with all its options settled."""

    algorithm: str
    agent: type[Agent]
    agent_options: Any
    run_options: RunOptions


@cache
def config_folder() -> Path:
    """The folder ``config`` of the source tree, or of the installed package."""
    for parent in Path(__file__).resolve().parents:
        for folder in (parent / "config", parent / "share" / "spiking_wm_ros" / "config"):
            if (folder / "algorithms").is_dir():
                return folder
    raise UserError("the package's config folder is missing: install it again (colcon build)")


def algorithms() -> list[str]:
    """Names that ``algorithm:=`` takes."""
    return sorted(path.stem for path in (config_folder() / "algorithms").glob("*.yaml"))


def agent_class(name: str) -> type[Agent]:
    """The agent in the folder ``spiking_wm_ros/agents/NAME``.

    Raises:
        UserError: if there is none.
    """
    try:
        return importlib.import_module(f"spiking_wm_ros.agents.{name}").Agent
    except ModuleNotFoundError:
        raise UserError(f"no agent '{name}' in spiking_wm_ros/agents: this package is older?") from None


def algorithm_agent(algorithm: str) -> type[Agent]:
    """The agent that an algorithm's file names.

    Raises:
        UserError: for an unknown algorithm, listing the known ones.
    """
    if algorithm not in algorithms():
        raise UserError(f"unknown algorithm '{algorithm}'; known: {', '.join(algorithms())}")
    return agent_class(_read_algorithm(algorithm)["agent"])


def _read_algorithm(algorithm: str) -> dict[str, Any]:
    return read_yaml(config_folder() / "algorithms" / f"{algorithm}.yaml")


def settle(algorithm: str, env_id: str, given: dict[str, Any]) -> Setup:
    """All options of an algorithm in an environment: defaults, then files, then what was given.

    Raises:
        UserError: for an unknown algorithm or option, or a value out of range.
    """
    agent = algorithm_agent(algorithm)
    chosen = _read_algorithm(algorithm)
    agent_name = chosen.pop("agent")
    env_file = config_folder() / "envs" / f"{env_id.replace('/', '-')}.yaml"
    suited = read_yaml(env_file) if env_file.exists() else {}
    sections = {key: suited.pop(key) for key in [*suited] if isinstance(suited[key], dict)}
    values = suited | sections.get(agent_name, {}) | chosen | sections.get(algorithm, {}) | given
    of_agent, of_run = known(agent.options_class), known(RunOptions)
    for name in values:
        if name not in of_agent and name not in of_run:
            raise UserError(f"unknown parameter '{name}'{suggestion(name, [*of_agent, *of_run])}")
    return Setup(
        algorithm,
        agent,
        override(agent.options_class(), {k: v for k, v in values.items() if k in of_agent}),
        override(RunOptions(), {k: v for k, v in values.items() if k in of_run}),
    )
