"""The graphs: what each launch file and each verb of `./swm` starts, and with what arguments."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from spiking_wm_ros.agents.files import newest_checkpoint
from spiking_wm_ros.agents.options import known, parse, suggestion
from spiking_wm_ros.agents.registry import Setup, algorithms, settle
from spiking_wm_ros.agents.run_config import RunConfig, is_run, options_of, read_config
from spiking_wm_ros.agents.spaces import Spaces
from spiking_wm_ros.energy.battery import BatteryOptions
from spiking_wm_ros.energy.phases import DreamBounds, PhaseOptions
from spiking_wm_ros.envs.battery import BATTERIES, NONE
from spiking_wm_ros.envs.session import check_env
from spiking_wm_ros.errors import UserError
from spiking_wm_ros.robots.description import load_robot


class Argument(NamedTuple):
    """A launch argument."""

    name: str
    default: str
    text: str
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class NodeSpec:
    """One node: executable and name are the same. When a vital one ends, the whole graph ends."""

    executable: str
    parameters: dict[str, Any]
    vital: bool = True


@dataclass(frozen=True)
class Started:
    """A graph that is settled: nodes to start, and what the console should know."""

    nodes: list[NodeSpec]
    run: Path
    namespace: str = ""
    log_level: str = "info"
    params_file: str = ""
    steps: int = 0


@dataclass(frozen=True)
class Graph:
    """A launchable graph.

    ``settle`` takes the declared arguments, all as text, and any others as options of algorithm and
    run; it raises `UserError` before anything is started.
    """

    text: str
    arguments: tuple[Argument, ...]
    settle: Callable[[Mapping[str, str], Mapping[str, str]], Started]


_SHARED = (
    Argument("namespace", "", "ROS namespace of all nodes"),
    Argument("params_file", "", "ROS parameter file (YAML) applied on top"),
    Argument("log_level", "info", "log level", ("debug", "info", "warn", "error")),
)
_SUBJECT = (
    Argument("algorithm", "popsan_dream", "name of a file in config/algorithms", tuple(algorithms())),
    Argument("env", "InvertedPendulum-v5", "Gymnasium environment id"),
)
_CHECKPOINT = Argument("checkpoint", "", "run folder, for its newest checkpoint, or a checkpoint in one")


def _managed(order: str, nodes: list[NodeSpec], patience: float = 10.0) -> list[NodeSpec]:
    """The nodes of a graph, and the manager that brings those of ``order`` up."""
    return [*nodes, NodeSpec("manager", {"nodes": order, "patience": patience}, vital=False)]


def _shared(arguments: Mapping[str, str]) -> dict[str, str]:
    return {a.name: arguments[a.name] for a in _SHARED}


def _checkpoint(arguments: Mapping[str, str], name: str = "checkpoint") -> tuple[Path, Path, RunConfig]:
    """A checkpoint, the folder of its run, and that run's config."""
    if not arguments[name]:
        raise UserError(f"{name}:= is missing: give a run folder, as {name}:=runs/NAME")
    checkpoint = newest_checkpoint(Path(arguments[name])).resolve()
    run = checkpoint.parent.parent
    return checkpoint, run, read_config(run)


def _number(arguments: Mapping[str, str], name: str, kind: type = float) -> float:
    try:
        number = kind(arguments[name])
    except ValueError:
        number = -1
    if not number >= 0:
        what = "whole number" if kind is int else "number"
        raise UserError(f"{name}:={arguments[name]} is not a {what} of 0 or more")
    return number


def _new_run_path(arguments: Mapping[str, str], setup: Setup) -> Path:
    if arguments["run"]:
        return Path(arguments["run"])
    stamp = time.strftime("%Y%m%d-%H%M%S")
    env = arguments["env"].replace("/", "-")
    return Path("runs") / f"{env}_{setup.algorithm}_s{setup.run_options.seed}_{stamp}"


class Subject(NamedTuple):
    """What is to be trained, settled."""

    setup: Setup
    env: str
    run: Path
    checkpoint: Path | None


def subject(arguments: Mapping[str, str], options: Mapping[str, str]) -> Subject:
    """A new run, or one that is resumed with the options it had but for those given.

    Raises:
        UserError: for anything that could not run.
    """
    if arguments["resume"]:
        checkpoint, run, config = _checkpoint(arguments, "resume")
        return Subject(config.settle(dict(options)), config.env, run, checkpoint)
    setup = settle(arguments["algorithm"], arguments["env"], dict(options))
    check_env(arguments["env"])
    path = _new_run_path(arguments, setup)
    if is_run(path):
        raise UserError(f"{path} is a run already: choose another run:=, or resume:={path}")
    return Subject(setup, arguments["env"], path, None)


ENERGY = {"bridge": (BatteryOptions,), "scheduler": (PhaseOptions, DreamBounds)}  # options by node


def _route(
    options: Mapping[str, str], classes_of: Mapping[str, tuple[type, ...]]
) -> tuple[dict[str, dict], dict[str, str]]:
    """Parameters by node, and the options that none of them has."""
    left, parameters = dict(options), {}
    for node, classes in classes_of.items():
        parameters[node] = {
            name: parse(options_class, name, left.pop(name))
            for options_class in classes
            for name in known(options_class)
            if name in left
        }
    return parameters, left


def _energy(battery: str, options: Mapping[str, str]) -> tuple[dict[str, dict], dict[str, str]]:
    """Parameters of battery and phases by node, and the options that are left."""
    parameters, left = _route(options, ENERGY)
    if battery == NONE:
        for name in [*parameters["bridge"], *parameters["scheduler"]]:
            raise UserError(f"{name}:= says something of a battery: give battery:=own or virtual besides")
        return {}, left
    parameters["bridge"]["battery"] = battery
    return parameters, left


def _train(arguments: Mapping[str, str], options: Mapping[str, str]) -> Started:
    energy, options = _energy(arguments["battery"], options)
    setup, env, run, checkpoint = subject(arguments, options)
    run, schedule = run.resolve(), setup.run_options
    resume = str(checkpoint or "")
    bridge = {
        "env": env,
        "seed": schedule.seed,
        "steps": schedule.steps,
        "evaluate_every": schedule.evaluate_every,
        "evaluation_episodes": schedule.evaluation_episodes,
        "rate_hz": _number(arguments, "rate_hz"),
        "resume": resume,
    }
    named = {"algorithm": setup.algorithm, "env": env, "run": str(run), "resume": resume}
    nodes = [
        NodeSpec("bridge", bridge | energy.get("bridge", {})),
        NodeSpec("policy", {"seed": schedule.seed}),
        NodeSpec("dreamer", named | options_of(setup)),
        *([NodeSpec("scheduler", energy["scheduler"])] if energy else []),
    ]
    nodes = _managed("dreamer policy bridge", nodes)
    return Started(nodes, run, steps=schedule.steps, **_shared(arguments))


def _evaluate(arguments: Mapping[str, str], options: Mapping[str, str]) -> Started:
    _refuse(options, "evaluate")
    checkpoint, run, config = _checkpoint(arguments)
    bridge = {
        "env": config.env,
        "evaluation_episodes": _number(arguments, "episodes", int),
        "rate_hz": _number(arguments, "rate_hz"),
    }
    bundle = checkpoint / "policy.safetensors"
    nodes = [NodeSpec("bridge", bridge), NodeSpec("policy", {"bundle": str(bundle)})]
    return Started(_managed("policy bridge", nodes), run, **_shared(arguments))


def _dream(arguments: Mapping[str, str], options: Mapping[str, str]) -> Started:
    checkpoint, run, config = _checkpoint(arguments)
    setup = config.settle(dict(options))
    named = {
        "algorithm": setup.algorithm,
        "env": config.env,
        "run": str(run),
        "resume": str(checkpoint),
        "mode": "once",
        "rollouts": _number(arguments, "rollouts", int),
        "updates": _number(arguments, "updates", int),
        "seconds": _number(arguments, "seconds"),
        "joules": _number(arguments, "joules"),
    }
    nodes = [NodeSpec("dreamer", named | options_of(setup))]
    return Started(_managed("dreamer", nodes), run, **_shared(arguments))


def _deploy(arguments: Mapping[str, str], options: Mapping[str, str]) -> Started:
    dreams, simulated = arguments["dream"] == "true", arguments["simulated"] == "true"
    robot = load_robot(arguments["robot"])
    if simulated and not robot.driver:
        raise UserError(
            f"robot:={robot.name} names no driver that could be simulated: say 'driver:' in its file"
        )
    classes = {"scheduler": (PhaseOptions, DreamBounds)} if dreams else {}
    parameters, left = _route(options, classes | ({robot.driver: (BatteryOptions,)} if simulated else {}))
    of_robot, acting = {"robot": arguments["robot"]}, {"real_time": True}
    nodes = [NodeSpec("gate", of_robot), NodeSpec("robot", of_robot)]
    if dreams:
        checkpoint, run, config = _checkpoint(arguments, "policy")
        bundle, setup = checkpoint / "policy.safetensors", config.settle(left)
        named = {"algorithm": setup.algorithm, "env": config.env, "run": str(run), "resume": str(checkpoint)}
        dreamer = named | {"mode": "at_rest"} | options_of(setup)
        nodes += [NodeSpec("policy", acting, vital=False), NodeSpec("dreamer", dreamer, vital=False)]
        nodes += [NodeSpec("scheduler", parameters["scheduler"], vital=False)]
    else:
        _refuse(left, "deploy")
        bundle = _bundle(arguments)
        run = bundle.parent
        nodes += [NodeSpec("policy", acting | {"bundle": str(bundle)}, vital=False)]
    from spiking_wm_ros.agents.bundle import load_bundle  # brings torch, which no other graph waits for

    robot.check_fits(Spaces.from_json(load_bundle(bundle).facts["spaces"]))
    if simulated:
        nodes.append(NodeSpec(robot.driver, parameters[robot.driver], vital=False))
    order = "gate dreamer policy robot" if dreams else "gate policy robot"
    return Started(_managed(order, nodes, patience=2.0), run, **_shared(arguments))


def _bundle(arguments: Mapping[str, str]) -> Path:
    """The file of a policy bundle, or the newest one of a run."""
    given = Path(arguments["policy"])
    return given.resolve() if given.is_file() else _checkpoint(arguments, "policy")[0] / "policy.safetensors"


def _refuse(options: Mapping[str, str], graph: str) -> None:
    for name in options:
        known = [a.name for a in GRAPHS[graph].arguments]
        raise UserError(f"unknown argument '{name}'{suggestion(name, known)}")


_YES_OR_NO = ("true", "false")
_RATE = Argument("rate_hz", "0", "steps per second of wall time; 0 for lock-step, as fast as it goes")

GRAPHS: dict[str, Graph] = {
    "train": Graph(
        "Train in an environment, awake and in dreams. Any option of the algorithm or the run can be"
        " given besides, as batch:=128.",
        (
            *_SUBJECT,
            Argument("run", "", "folder of the run; empty: a new one in runs/"),
            Argument("resume", "", "run folder or checkpoint to go on from"),
            Argument(
                "battery",
                NONE,
                "the environment's own battery, or a virtual one; with it the robot sleeps when it is low",
                BATTERIES,
            ),
            _RATE,
            *_SHARED,
        ),
        _train,
    ),
    "dream": Graph(
        "Dream from a checkpoint with a world model, with no environment.",
        (
            _CHECKPOINT,
            Argument("rollouts", "0", "imagined rollouts at most; 0: no bound"),
            Argument("updates", "0", "policy updates at most; 0: no bound"),
            Argument("seconds", "0", "time at most, in seconds; 0: no bound"),
            Argument("joules", "0", "energy of computing at most, in joules; 0: no bound"),
            *_SHARED,
        ),
        _dream,
    ),
    "evaluate": Graph(
        "Let a checkpoint's policy act greedily, without learning.",
        (_CHECKPOINT, Argument("episodes", "10", "episodes"), _RATE, *_SHARED),
        _evaluate,
    ),
    "deploy": Graph(
        "Let a trained policy drive a robot, behind a safety gate; with dream:=true it dreams at rest.",
        (
            Argument("robot", "rover", "name of a file in config/robots, or path of one of your own"),
            Argument("policy", "", "policy bundle, or run folder for its newest one"),
            Argument(
                "dream", "false", "dream at rest; policy:= is a run with a world model then", _YES_OR_NO
            ),
            Argument("simulated", "false", "start the robot's simulated driver besides", _YES_OR_NO),
            *_SHARED,
        ),
        _deploy,
    ),
}


def settle_graph(name: str, given: Mapping[str, str]) -> Started:
    """Settle a graph from the arguments that a user gave.

    Raises:
        UserError: for bad arguments, before anything is started.
    """
    graph = GRAPHS[name]
    declared = {a.name: a.default for a in graph.arguments}
    arguments = declared | {k: v for k, v in given.items() if k in declared}
    for a in graph.arguments:
        if a.choices and arguments[a.name] not in a.choices:
            close = suggestion(arguments[a.name], a.choices)
            raise UserError(f"unknown {a.name} '{arguments[a.name]}'{close}; choices: {', '.join(a.choices)}")
    if arguments["params_file"] and not Path(arguments["params_file"]).exists():
        raise UserError(f"params_file:={arguments['params_file']} does not exist")
    return graph.settle(arguments, {k: v for k, v in given.items() if k not in declared})
