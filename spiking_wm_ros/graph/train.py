"""The graph that trains: bridge, policy and dreamer; with a battery also a scheduler."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import Setup, algorithms, resolve
from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.energy.phases import DreamBounds, PhaseOptions
from spiking_wm.envs.battery import BATTERIES, NONE
from spiking_wm.envs.make import check_env
from spiking_wm.runs.config import done, has_begun, options_of
from spiking_wm_ros.graph.parts import (
    BACKEND,
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
    Argument("env", "InvertedPendulum-v5", "Gymnasium environment id"),
)


def _new_run_path(arguments: Mapping[str, str], setup: Setup) -> Path:
    if arguments["run"]:
        return Path(arguments["run"])
    stamp = time.strftime("%Y%m%d-%H%M%S")
    env = arguments["env"].replace("/", "-")
    return Path("runs") / f"{env}_{setup.algorithm}_s{setup.schedule.seed}_{stamp}"


class Subject(NamedTuple):
    """A training run: resolved options, environment, run folder, and checkpoint to resume from."""

    setup: Setup
    env: str
    run: Path
    checkpoint: Path | None


def subject(arguments: Mapping[str, str], options: Mapping[str, str]) -> Subject:
    """A new run, or a resumed one with its former options, except those that are given.

    Raises:
        UserError: for invalid arguments or options.
    """
    if arguments["resume"]:
        checkpoint, run, config = checkpoint_of(arguments, "resume")
        setup = config.resolve(dict(options))
        if done(checkpoint, setup.schedule):
            raise UserError(f"{run} has done its {setup.schedule.steps} steps: give a larger steps:=")
        return Subject(setup, config.env, run, checkpoint)
    setup = resolve(arguments["algorithm"], arguments["env"], dict(options))
    check_env(arguments["env"])
    path = _new_run_path(arguments, setup)
    if has_begun(path):
        raise UserError(f"{path} is a run already: choose another run:=, or resume:={path}")
    return Subject(setup, arguments["env"], path, None)


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


def _train(arguments: Mapping[str, str], options: Mapping[str, str]) -> ResolvedGraph:
    rate = number(arguments, "rate_hz")
    runs_on, options = backend(arguments, options, 1 / rate if rate else 0.0)
    energy, options = _energy(arguments["battery"], options)
    setup, env, run, checkpoint = subject(arguments, options)
    run, schedule = run.resolve(), setup.schedule
    resume = str(checkpoint or "")
    bridge = {
        "env": env,
        "seed": schedule.seed,
        "steps": schedule.steps,
        "evaluation.every": schedule.evaluation.every,
        "evaluation.episodes": schedule.evaluation.episodes,
        "rate_hz": rate,
        "resume": resume,
    }
    named = {"algorithm": setup.algorithm, "env": env, "run": str(run), "resume": resume}
    nodes = [
        NodeSpec("bridge", bridge | energy.get("bridge", {})),
        NodeSpec("policy", {"seed": schedule.seed} | runs_on),
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
        *SHARED,
    ),
    _train,
)
