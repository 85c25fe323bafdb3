"""``config.yaml`` of a run: algorithm, environment and every option."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import yaml

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import lock, write_atomically
from spiking_wm.core.options import override, parse, read_yaml, values
from spiking_wm.core.presets import GIVEN, Setup, agent_of, as_recorded, by_dotted_name
from spiking_wm.core.registry import agent_class
from spiking_wm.core.schedule import Schedule, env_arguments
from spiking_wm.core.storage import load_facts
from spiking_wm.envs.make import make_env

LOG, LOCK = "log.txt", ".lock"  # in a run's folder: tracebacks of exceptions; locked by who learns


class RunConfig(NamedTuple):
    """Configuration with which a run was started or last resumed.

    ``origins`` names the source of every value that is not a default; empty in runs of version 0.1.
    """

    algorithm: str
    env: str
    options: dict[str, Any]
    origins: Mapping[str, str] = {}

    def resolve(self, changes: Mapping[str, Any] | None = None) -> Setup:
        """The algorithm with the options of this run; ``changes`` replaces some of them.

        Raises:
            UserError: as `spiking_wm.core.presets.as_recorded`.
        """
        agent = agent_of(self.algorithm)
        changed = by_dotted_name(agent, changes or {})
        recorded = by_dotted_name(agent, self.options)
        envs = recorded.get("envs", 1)
        if parse(Schedule, "envs", changed.get("envs", envs)) != envs:
            raise UserError(
                f"envs:={changed['envs']} is not that of the run to resume (envs:={envs}): leave it out, or"
                f" start a new run"
            )
        origins = dict(self.origins) | dict.fromkeys(changed, GIVEN)
        return as_recorded(self.algorithm, recorded | changed, origins)

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """Arguments of the environment's constructor."""
        return env_arguments(self.options.get("env_kwargs", ""))

    def make_env(self) -> gym.Env:
        """Make the environment of this run.

        Raises:
            UserError: if it cannot be made.
        """
        return make_env(self.env, self.env_kwargs)


def without_evaluations(setup: Setup, why: str) -> Setup:
    """The setup of an environment that there is only one instance of: nothing is evaluated.

    Args:
        setup: the setup.
        why: recorded as the origin of ``evaluation.every``.

    Raises:
        UserError: if the user gave ``evaluation.every``.
    """
    if not setup.schedule.evaluation.every:
        return setup
    if setup.origins.get("evaluation.every") == GIVEN:
        raise UserError(
            "evaluations need a second environment, and there is only one: give evaluation.every:=0, or a"
            " function that makes environments"
        )
    schedule = override(setup.schedule, {"evaluation.every": 0})
    origins = {**setup.origins, "evaluation.every": why}
    return Setup(setup.algorithm, setup.agent, setup.agent_options, schedule, origins)


def checked(setup: Setup) -> Setup:
    """The setup as it runs: with no evaluations in an environment that must be alone.

    Raises:
        UserError: as `without_evaluations`, for ``env_kwargs`` that are no mapping, or for several copies of
            the environment if it must be alone or the agent learns from one only.
    """
    _ = setup.schedule.env_arguments
    if (envs := setup.schedule.envs) > 1:
        if setup.schedule.env_alone:
            raise UserError(f"envs:={envs} makes {envs} environments, env_alone:=true one: give one of them")
        if not agent_class(setup.agent).serves_copies:
            raise UserError(f"{setup.algorithm} learns from one episode at a time: leave envs:={envs} out")
    return without_evaluations(setup, "env_alone") if setup.schedule.env_alone else setup


def options_of(setup: Setup) -> dict[str, Any]:
    """All options by dotted name, with YAML and ROS types."""
    options = values(setup.agent_options) | values(setup.schedule)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def is_run(path: Path) -> bool:
    """True if the folder is a run."""
    return (path / "config.yaml").exists()


def has_begun(path: Path) -> bool:
    """True if the run has a policy already, which must not be overwritten."""
    return is_run(path) and (path / "policies").exists() and not is_abandoned(path)


def is_abandoned(path: Path) -> bool:
    """True if a run was stopped before anything of it was saved: its folder is free."""
    if any((path / "checkpoints").glob("[!.]*")) or not (path / LOCK).exists():
        return False
    try:
        lock(path / LOCK).close()
    except OSError:  # a process learns in it
        return False
    return True


def done(checkpoint: Path, options: Schedule) -> bool:
    """True if a checkpoint is at the end of the run: all steps and the last evaluation are done.

    Raises:
        UserError: if the checkpoint is damaged.
    """
    at = load_facts(checkpoint / "agent.safetensors")["learner"]
    judged = not options.evaluation.every or at["evaluated_at"] == at["step"]
    return at["step"] > options.steps or (at["step"] == options.steps and judged)


def read_config(path: Path) -> RunConfig:
    """Read the configuration of the run in a folder.

    Raises:
        UserError: if the folder is not a run.
    """
    if not is_run(path):
        raise UserError(f"{path} is not a run (it has no config.yaml): give a run's folder, as runs/NAME")
    said = read_yaml(path / "config.yaml")
    try:
        config = RunConfig(**said)
        if not isinstance(config.options, Mapping):
            raise TypeError("its options are no mapping")
        return config
    except TypeError as error:
        raise UserError(f"{path / 'config.yaml'} is damaged or of a newer version ({error})") from None


def write_config(path: Path, setup: Setup, env_id: str) -> None:
    """Write the configuration of the run in a folder."""
    config = {
        "algorithm": setup.algorithm,
        "env": env_id,
        "options": options_of(setup),
        "origins": dict(setup.origins),
    }
    write_atomically(path / "config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
