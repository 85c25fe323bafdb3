"""The graph that drives a robot: robot (sensors), policy and gate; with dream:=true also a dreamer."""

from collections.abc import Mapping
from pathlib import Path

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.energy.phases import DreamBounds, PhaseOptions
from spiking_wm.robots.description import load_robot
from spiking_wm.runs.config import is_run, options_of
from spiking_wm.runs.policy_bundle import bundle_facts
from spiking_wm_ros.graph.parts import (
    BACKEND,
    SHARED,
    Argument,
    Graph,
    NodeSpec,
    ResolvedGraph,
    backend,
    checkpoint_of,
    managed,
    newest_of,
    refuse,
    route,
    shared,
)

_YES_OR_NO = ("true", "false")


def _deploy(arguments: Mapping[str, str], options: Mapping[str, str]) -> ResolvedGraph:
    dreams, simulated = arguments["dream"] == "true", arguments["simulated"] == "true"
    robot = load_robot(arguments["robot"])
    if simulated and not robot.driver:
        raise UserError(f"robot:={robot.name} has no simulated driver: name one as 'driver:' in its file")
    runs_on, options = backend(arguments, options, robot.period)
    classes = {"scheduler": (PhaseOptions, DreamBounds)} if dreams else {}
    parameters, left = route(options, classes | ({robot.driver: (BatteryOptions,)} if simulated else {}))
    of_robot, acting = {"robot": arguments["robot"]}, {"real_time": True} | runs_on
    nodes = [NodeSpec("gate", of_robot), NodeSpec("robot", of_robot)]
    if dreams:
        checkpoint, run, config = newest_of(arguments, "policy")
        bundle, setup = checkpoint / "policy.safetensors", config.resolve(left)
        named = {"algorithm": setup.algorithm, "env": config.env, "run": str(run), "resume": str(checkpoint)}
        dreamer = named | {"mode": "at_rest"} | options_of(setup)
        nodes += [NodeSpec("policy", acting, vital=False), NodeSpec("dreamer", dreamer, vital=False)]
        nodes += [NodeSpec("scheduler", parameters["scheduler"], vital=False)]
    else:
        refuse(left, arguments)
        bundle, run = _bundle(arguments)
        nodes += [NodeSpec("policy", acting | {"bundle": str(bundle)}, vital=False)]
    robot.check_fits(Spaces.from_json(bundle_facts(bundle)["spaces"]))
    if simulated:
        nodes.append(NodeSpec(robot.driver, parameters[robot.driver], vital=False))
    order = "gate dreamer policy robot" if dreams else "gate policy robot"
    return ResolvedGraph(managed(order, nodes, patience=2.0, spare="dreamer"), run, **shared(arguments))


def _bundle(arguments: Mapping[str, str]) -> tuple[Path, Path]:
    """The policy bundle (given, or the newest of a run), and its run folder or parent folder."""
    given = Path(arguments["policy"]).resolve()
    if given.is_file():
        return given, next((folder for folder in given.parents if is_run(folder)), given.parent)
    checkpoint, run, _ = checkpoint_of(arguments, "policy")
    return checkpoint / "policy.safetensors", run


DEPLOY = Graph(
    "Let a trained policy drive a robot, behind a safety gate; with dream:=true it dreams at rest.",
    (
        Argument("robot", "rover", "name of a file in config/robots, or path of one of your own"),
        Argument("policy", "", "policy bundle, or run folder for its newest one"),
        Argument(
            "dream", "false", "dream at rest; policy:= must then be a run with a world model", _YES_OR_NO
        ),
        Argument("simulated", "false", "start the robot's simulated driver too", _YES_OR_NO),
        BACKEND,
        *SHARED,
    ),
    _deploy,
)
