"""The graphs that evaluate a checkpoint, or dream from it without an environment."""

from collections.abc import Mapping

import yaml

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import canonical, known
from spiking_wm.core.presets import agent_of
from spiking_wm.core.registry import options_class
from spiking_wm.runs.config import options_of
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm.runs.resuming import setup_of, spaces_of
from spiking_wm_ros.graph.parts import (
    BACKEND,
    BAG,
    CHECKPOINT,
    CLOCK,
    RATE,
    SHARED,
    Argument,
    Graph,
    NodeSpec,
    ResolvedGraph,
    backend,
    bag_of,
    checkpoint_of,
    managed,
    newest_of,
    number,
    refuse,
    shared,
)


def _evaluate(arguments: Mapping[str, str], options: Mapping[str, str]) -> ResolvedGraph:
    rate, episodes = number(arguments, "rate_hz"), number(arguments, "episodes", int)
    if not episodes:
        raise UserError("episodes:=0 evaluates nothing: give 1 or more")
    checkpoint, run, config = checkpoint_of(arguments)
    runs_on, options = backend(arguments, options, 1 / rate if rate else 0.0)
    agent = options_class(agent_of(config.algorithm))
    unknown = {name: value for name, value in options.items() if not canonical(agent, name)}
    refuse(unknown, [*arguments, *known(agent)])
    config.resolve(options)  # raises for invalid values
    bridge = {
        "env": config.env,
        "env_kwargs": config.options.get("env_kwargs", ""),
        "evaluation.longest": config.options.get("evaluation.longest", 0),
        "evaluation.episodes": episodes,
        "rate_hz": rate,
        "clock": arguments["clock"] == "true",
    }
    bundle, changed = checkpoint / "policy.safetensors", yaml.safe_dump(dict(options)) if options else ""
    if options:  # refused here rather than by the policy
        make_policy(load_bundle(bundle), spaces_of(checkpoint), options)
    nodes = [
        NodeSpec("bridge", bridge),
        NodeSpec("policy", {"bundle": str(bundle), "changed": changed} | runs_on),
    ]
    return ResolvedGraph(managed("policy bridge", nodes), run, **shared(arguments))


def _dream(arguments: Mapping[str, str], options: Mapping[str, str]) -> ResolvedGraph:
    checkpoint, run, config = newest_of(arguments)
    setup, bag = setup_of(config, options, checkpoint), bag_of(arguments)
    if bag:
        setup.schedule.check_one_copy()
    named = {
        "algorithm": setup.algorithm,
        "env": config.env,
        "run": str(run),
        "resume": str(checkpoint),
        "mode": "once",
        "bag": bag,
        "rollouts": number(arguments, "rollouts", int),
        "updates": number(arguments, "updates", int),
        "seconds": number(arguments, "seconds"),
        "joules": number(arguments, "joules"),
    }
    nodes = [NodeSpec("dreamer", named | options_of(setup))]
    return ResolvedGraph(managed("dreamer", nodes), run, **shared(arguments))


EVALUATE = Graph(
    "Let a checkpoint's policy act greedily, without learning. Options of the algorithm can be given too,"
    " as target_return:=300.",
    (CHECKPOINT, Argument("episodes", "10", "episodes"), BACKEND, RATE, CLOCK, *SHARED),
    _evaluate,
)
DREAM = Graph(
    "Dream from a checkpoint with a world model, with no environment.",
    (
        CHECKPOINT,
        Argument("rollouts", "0", "largest number of imagined rollouts; 0: no limit"),
        Argument("updates", "0", "largest number of policy updates; 0: no limit"),
        Argument("seconds", "0", "longest duration, in seconds; 0: no limit"),
        BAG,
        Argument("joules", "0", "largest computing energy, in joules; 0: no limit"),
        *SHARED,
    ),
    _dream,
)
