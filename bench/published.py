"""Speed of this implementation and of the published code, part by part, in turns on one thread.

Run as ``SWM_PUBLISHED=/path/to/checkout TORCHDYNAMO_DISABLE=1 ./swm bench published``, with a checkout of
saketrohit24/PopSAN-spiking_world_model_dreaming. Without the second variable its world model is compiled
first, which takes minutes. Both use the same 4,000 random transitions of HalfCheetah and batches of 256; this
implementation uses the default sizes of the world model.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import yaml
from _yardstick import gflops
from popsan import ENV, agent_with, random_transitions
from rich.console import Console
from rich.progress import track
from rich.table import Table

from spiking_wm.agents.popsan.agent import Agent
from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import override
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import matmul_precision, prepare_to_compute

ROUNDS = 6


def published(transitions: list[Transition]) -> dict[str, Callable[[], float]]:
    """Parts of the published agent; each call returns the number of units of work it did."""
    checkout = Path(os.environ.get("SWM_PUBLISHED", ""))
    if not (checkout / "src" / "spiking_dreamer").is_dir():
        raise UserError("set SWM_PUBLISHED to a checkout of saketrohit24/PopSAN-spiking_world_model_dreaming")
    sys.path.insert(0, str(checkout / "src"))
    from spiking_dreamer import ReplayBuffer, TD3_SpikingDreamer

    config = yaml.safe_load((checkout / "configs" / "default.yaml").read_text())
    observation, action = transitions[0].observation, transitions[0].action
    config |= {"obs_dim": len(observation), "act_dim": len(action)}
    replay = ReplayBuffer(len(observation), len(action), config["replay_size"], device=torch.device("cpu"))
    agent = TD3_SpikingDreamer(len(observation), len(action), 1.0, torch.device("cpu"), config, replay)
    for t in transitions:
        replay.add(t.observation, t.action, t.next_observation, t.reward, float(t.terminated), is_dream=False)
    imagined = config["dream_batch_size"] * config["dreams_per_phase"] * config["dream_horizon"]
    return {
        "act": lambda: [agent.select_action(observation) for _ in range(20)] and 20,
        "ensemble_step": lambda: agent.train_world_model(replay, 256) is not ...,
        "imagine": lambda: agent.dream_phase(replay) and imagined,
        "td3_update": lambda: [agent.train(replay, 256) for _ in range(20)] and 20,
    }


def ours(transitions: list[Transition]) -> dict[str, Callable[[], float]]:
    """The same parts of this implementation."""
    options = resolve("popsan_dream", ENV, {}).agent_options
    agent = agent_with(
        override(options, {"actor.hidden": [256, 256], "batch": 256, "warmup": 0}), transitions
    )
    policy = Agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    observation = transitions[0].observation

    def learn(part: Callable[[], object]) -> object:
        with matmul_precision("medium"):
            return part()

    return {
        "act": lambda: [policy.act(observation, None, None) for _ in range(20)] and 20,
        "ensemble_step": lambda: learn(lambda: agent.dynamics.learn(agent.replay, agent.generator)) and 1,
        "imagine": lambda: learn(lambda: agent.imagine(1024).imagined),
        "td3_update": lambda: learn(lambda: [agent.update_policy(0.0) for _ in range(20)] and 20),
    }


def main() -> None:
    """Time both in turns, print a table, and one JSON object as the last line."""
    prepare_to_compute()
    speed = gflops()
    transitions = random_transitions(4000)
    systems = {"published": published(transitions), "ours": ours(transitions)}
    spent = {(system, part): [] for system, parts in systems.items() for part in parts}
    for _ in track(range(ROUNDS + 1), "in turns", transient=True):
        for part in systems["ours"]:
            for system, parts in systems.items():
                began = time.perf_counter()
                units = parts[part]()
                spent[system, part].append((time.perf_counter() - began) / units * 1e3)
    figures, table = {}, Table("ms, one thread", *systems, "times as fast", title=f"{speed:.0f} GFLOP/s")
    for part in systems["ours"]:
        theirs, mine = (median(spent[system, part][1:]) for system in systems)  # the first turn is a warm-up
        ratios = sorted(a / b for a, b in zip(spent["published", part][1:], spent["ours", part][1:]))
        table.add_row(
            part,
            f"{theirs:.3g}",
            f"{mine:.3g}",
            f"{theirs / mine:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
        )
        figures |= {f"{part}_published_ms": theirs, f"{part}_ms": mine, f"{part}_ratio": theirs / mine}
    Console(width=110).print(table)
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
