"""Going on from a checkpoint: its spaces, the environment's position in it, its agent and learner."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import Setup
from spiking_wm.core.registry import agent_class
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.storage import load, load_facts
from spiking_wm.runs.config import RunConfig
from spiking_wm.runs.policy_bundle import check_spaces, load_bundle
from spiking_wm.training.episodes import episodes_of
from spiking_wm.training.learner import Learner, restore_counters

if TYPE_CHECKING:
    from spiking_wm.core.contract import Agent


def make_agent(setup: Setup, spaces: Spaces) -> "Agent":
    """An agent as it is before it has learned anything.

    Raises:
        UserError: if it does not fit the spaces.
    """
    schedule = setup.schedule
    several = (schedule.envs,) if schedule.envs > 1 else ()  # agents without copies need no argument
    return agent_class(setup.agent)(setup.agent_options, spaces, schedule.seed, *several)


def restore(learner: Learner, spaces: Spaces, checkpoint: Path) -> None:
    """Restore a learner from a checkpoint.

    Raises:
        UserError: if the checkpoint is damaged, or has another algorithm, environment or network size.
    """
    acting = load_bundle(checkpoint / "policy.safetensors")
    tensors_of_episodes, place = load(checkpoint / "episode.safetensors")
    check_spaces(spaces_of(checkpoint).to_json(), spaces, "checkpoint")
    counters = _restore_agent(learner.agent, checkpoint)
    restore_counters(learner, counters, acting.weights, episodes_of(tensors_of_episodes, counters | place))


def setup_of(config: RunConfig, changes: Mapping[str, Any], checkpoint: Path) -> Setup:
    """The setup with which a checkpoint of a run goes on.

    Args:
        config: configuration of the run.
        changes: options that replace those of the run. If there are any of the agent, its agent is made and
            restored, to see whether it can go on with them.
        checkpoint: the checkpoint.

    Raises:
        UserError: for invalid options, or as `restore`.
    """
    setup = config.resolve(changes)
    if setup.agent_options != config.resolve().agent_options:
        _restore_agent(make_agent(setup, spaces_of(checkpoint)), checkpoint)
    return setup


def _restore_agent(agent: "Agent", checkpoint: Path) -> dict[str, Any]:
    """Returns the learner's counters."""
    tensors, facts = load(checkpoint / "agent.safetensors")
    try:
        agent.restore(tensors)
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{checkpoint} was made by algorithm:={facts['algorithm']} with other options or sizes, or by"
            f" another version of it ({reason}): resume it with its original options"
        ) from None
    return facts["learner"]


def resume_point(checkpoint: Path) -> dict[str, Any]:
    """Position of the environment in a checkpoint: the arguments of `Session.resume`.

    Raises:
        UserError: if the checkpoint is missing or damaged.
    """
    tensors, facts = load(checkpoint / "episode.safetensors")
    at = {name: facts[name] for name in ("step", "evaluated_at")}
    return at | {"episodes": episodes_of(tensors, facts)}


def spaces_of(checkpoint: Path) -> Spaces:
    """The spaces of a checkpoint's agent.

    Raises:
        UserError: if the checkpoint is missing or damaged.
    """
    return Spaces.from_json(load_facts(checkpoint / "agent.safetensors")["spaces"])
