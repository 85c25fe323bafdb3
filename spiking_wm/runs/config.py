"""``config.yaml`` of a run: algorithm, environment and every option."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from spiking_wm.core.files import write_atomically
from spiking_wm.core.options import read_yaml
from spiking_wm.core.presets import Setup, settle
from spiking_wm.core.schedule import RunOptions
from spiking_wm.core.storage import load_facts
from spiking_wm.core.errors import UserError


class RunConfig(NamedTuple):
    """What a run was started, or last resumed, with."""

    algorithm: str
    env: str
    options: dict[str, Any]

    def settle(self, changes: dict[str, Any] | None = None) -> Setup:
        """The algorithm with these options, some of them changed."""
        return settle(self.algorithm, self.env, self.options | (changes or {}))


def options_of(setup: Setup) -> dict[str, Any]:
    """All options as YAML and ROS parameters hold them."""
    options = asdict(setup.agent_options) | asdict(setup.run_options)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}


def is_run(path: Path) -> bool:
    """Whether a folder is a run."""
    return (path / "config.yaml").exists()


def has_begun(path: Path) -> bool:
    """Whether a run has got so far as to have a policy: there is something to lose."""
    return is_run(path) and (path / "policies").exists()


def done(checkpoint: Path, options: RunOptions) -> bool:
    """Whether all steps are done at a checkpoint, and the last evaluation, or more steps than these.

    Raises:
        UserError: if the checkpoint is damaged.
    """
    at = load_facts(checkpoint / "agent.safetensors")["learner"]
    judged = not options.evaluate_every or at["evaluated_at"] == at["step"]
    return at["step"] > options.steps or (at["step"] == options.steps and judged)


def read_config(path: Path) -> RunConfig:
    """Read the config of the run in a folder.

    Raises:
        UserError: if the folder is no run.
    """
    if not is_run(path):
        raise UserError(f"{path} is not a run (it has no config.yaml): give a folder as runs/NAME")
    return RunConfig(**read_yaml(path / "config.yaml"))


def write_config(path: Path, setup: Setup, env_id: str) -> None:
    """Write the config of the run in a folder."""
    config = {"algorithm": setup.algorithm, "env": env_id, "options": options_of(setup)}
    write_atomically(path / "config.yaml", yaml.safe_dump(config, sort_keys=False).encode())
