"""The graph that trains: bridge, policy and dreamer; with a battery also a scheduler."""

from collections import ChainMap
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from spiking_wm.agents import check_spaces
from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import close
from spiking_wm.core.presets import Setup, algorithms, resolve
from spiking_wm.core.spaces import Spaces
from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.energy.phases import DreamBounds, PhaseOptions
from spiking_wm.envs.battery import BATTERIES, NONE
from spiking_wm.envs.make import check_env, make_env
from spiking_wm.runs.config import checked, done, has_begun, options_of
from spiking_wm.runs.folder import new_run_path
from spiking_wm.runs.resuming import setup_of
from spiking_wm_ros.graph.parts import (
    BACKEND,
    CLOCK,
    RATE,
    SHARED,
    Argument,
    Graph,
    NodeSpec,
    ResolvedGraph,
    backend,
    checkpoint_of,
    managed,
    number,
    route,
    shared,
)

_SUBJECT = (
    Argument("algorithm", "popsan_dream", "name of a file in config/algorithms", tuple(algorithms())),
    Argument("env", "InvertedPendulum-v5", "Gymnasium environment id, module:Id-v0 or module:function"),
)


class Subject(NamedTuple):
    """A training run: resolved options, environment, run folder, and checkpoint to resume from."""

    setup: Setup
    env: str
    run: Path
    checkpoint: Path | None


def subject(arguments: ChainMap[str, str], options: Mapping[str, str]) -> Subject:
    """A new run, or a resumed one with its former options, except those that are given.

    Args:
        arguments: those that the user gave, and the defaults.
        options: of the algorithm and the run.

    Raises:
        UserError: for invalid arguments or options.
    """
    if arguments["resume"]:
        checkpoint, run, config = checkpoint_of(arguments, "resume")
        own = {"algorithm": config.algorithm, "env": config.env, "run": str(run)}
        _check_same(arguments.maps[0], own)
        setup = checked(setup_of(config, options, checkpoint))
        if done(checkpoint, setup.schedule):
            raise UserError(
                f"{run} has done its {setup.schedule.steps} steps: give a larger steps:=, or read its report,"
                f" {run / 'report.html'} (./swm report {run} writes it)"
            )
        return Subject(setup, config.env, run, checkpoint)
    setup = checked(resolve(arguments["algorithm"], arguments["env"], dict(options)))
    check_env(arguments["env"])
    path = Path(arguments["run"]) if arguments["run"] else new_run_path(setup, arguments["env"])
    if has_begun(path):
        raise UserError(f"{path} is a run already: choose another run:=, or resume:={path}")
    return Subject(setup, arguments["env"], path, None)


def _check_same(given: Mapping[str, str], own: Mapping[str, str]) -> None:
    """Check that arguments given with ``resume:=`` are those of the run.

    Raises:
        UserError: for another algorithm, environment or folder.
    """
    for name, value in own.items():
        said = given.get(name, value)
        if said != value and not (name == "run" and Path(said).resolve() == Path(value)):
            raise UserError(
                f"{name}:={said} is not that of the run to resume ({name}:={value}): leave it out, or start a"
                f" new run without resume:="
            )


def _check_fits(chosen: Subject) -> None:
    """Make a new run's environment once, to refuse here what its algorithm does not take.

    An environment that must be alone is not made: then the learner refuses it.

    Raises:
        UserError: if it cannot be made, or does not fit.
    """
    schedule = chosen.setup.schedule
    if chosen.checkpoint or schedule.env_alone:
        return
    env = make_env(chosen.env, schedule.env_arguments)
    try:
        check_spaces(chosen.setup.agent, Spaces.of(env), chosen.setup.agent_options)
    finally:
        with suppress(UserError):  # training says so at its end
            close(env)


ENERGY = {"bridge": (BatteryOptions,), "scheduler": (PhaseOptions, DreamBounds)}  # options by node


def _energy(battery: str, options: Mapping[str, str]) -> tuple[dict[str, dict], dict[str, str]]:
    """Parameters of battery and phases by node, and the remaining options."""
    parameters, left = route(options, ENERGY)
    if battery == NONE:
        for name in [*parameters["bridge"], *parameters["scheduler"]]:
            raise UserError(f"{name}:= is about a battery: give battery:=own or battery:=virtual too")
        return {}, left
    parameters["bridge"]["battery"] = battery
    return parameters, left


def _train(arguments: ChainMap[str, str], options: Mapping[str, str]) -> ResolvedGraph:
    rate = number(arguments, "rate_hz")
    runs_on, options = backend(arguments, options, 1 / rate if rate else 0.0)
    energy, options = _energy(arguments["battery"], options)
    chosen = subject(arguments, options)
    _check_fits(chosen)
    setup, env, run, checkpoint = chosen
    run, schedule = run.resolve(), setup.schedule
    if schedule.envs > 1 and (energy or rate):
        given = f"rate_hz:={rate:g}" if rate else f"battery:={arguments['battery']}"
        raise UserError(f"{given} is for one robot, and there are envs:={schedule.envs}: give one of them")
    resume = str(checkpoint or "")
    bridge = {
        "env": env,
        "envs": schedule.envs,
        "env_processes": schedule.env_processes,
        "seed": schedule.seed,
        "steps": schedule.steps,
        "evaluation.every": schedule.evaluation.every,
        "evaluation.episodes": schedule.evaluation.episodes,
        "evaluation.longest": schedule.evaluation.longest,
        "env_kwargs": schedule.env_kwargs,
        "rate_hz": rate,
        "clock": arguments["clock"] == "true",
        "resume": resume,
    }
    named = {"algorithm": setup.algorithm, "env": env, "run": str(run), "resume": resume}
    nodes = [
        NodeSpec("bridge", bridge | energy.get("bridge", {})),
        NodeSpec("policy", {"seed": schedule.seed, "envs": schedule.envs} | runs_on),
        NodeSpec("dreamer", named | options_of(setup)),
        *([NodeSpec("scheduler", energy["scheduler"])] if energy else []),
    ]
    nodes = managed("dreamer policy bridge", nodes)
    return ResolvedGraph(nodes, run, steps=schedule.steps, **shared(arguments))


TRAIN = Graph(
    "Train in an environment, awake and in dreams. Any option of the algorithm or the run can be"
    " given too, as batch:=128 or critic.lr:=1e-4.",
    (
        *_SUBJECT,
        Argument("run", "", "folder of the run; empty: a new one in runs/"),
        Argument("resume", "", "run folder or checkpoint to resume from"),
        Argument(
            "battery",
            NONE,
            "the environment's own battery, or a virtual one; the robot sleeps and dreams when it is low",
            BATTERIES,
        ),
        BACKEND,
        RATE,
        CLOCK,
        *SHARED,
    ),
    _train,
)
