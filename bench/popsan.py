"""PopSAN + dreaming on one thread: decisions, updates, imagined rollouts, and complete training.

Run as ``./swm bench popsan``. Rows marked "published" have the published sizes for HalfCheetah (17
observation values, 6 actions, actor 256-256, batch 256, 3 members); others those of the default preset.
"""

import json
import tempfile
import time
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from _yardstick import gflops, median_ms
from rich.console import Console
from rich.progress import track
from rich.table import Table

from spiking_wm.agents.popsan.agent import Agent
from spiking_wm.core.contract import Transition
from spiking_wm.core.options import override
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import matmul_precision, prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train

ENV = "HalfCheetah-v5"
DATA, UPDATES = 10_000, 600  # transitions and model updates for the comparison of model sizes
STEPS, MEASURED = 1750, 500  # steps of complete training; number of last steps that are measured
LEARN_EARLY = {"warmup": 1000, "learn_after": 1000}
SECONDS = 5.0  # time of imagining


def random_transitions(count: int) -> list[Transition]:
    """Transitions of a uniformly random policy, seeded."""
    env = gym.make(ENV)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    found = []
    for step in range(count):
        action = env.action_space.sample()
        following, reward, terminated, truncated, _ = env.step(action)
        found.append(
            Transition(
                observation.astype(np.float32),
                action,
                float(reward),
                following.astype(np.float32),
                terminated,
                truncated,
                0,
                step,
                1,
            )
        )
        observation = env.reset()[0] if terminated or truncated else following
    return found


def agent_with(options, transitions: list[Transition]) -> Agent:
    """An agent that has observed these transitions."""
    agent = Agent(options, Spaces.of(gym.make(ENV)), seed=0)
    for transition in transitions:
        agent.observe(transition)
    return agent


def training_speed(algorithm: str, dreaming: bool) -> float:
    """Environment steps per second of training in one process, over the last `MEASURED` steps."""
    times = {}
    short = {"steps": STEPS, "evaluate_every": 0, "checkpoint_every": 0}
    short |= {"model.first_updates": 0, "dream.halving": 0}
    setup = resolve(algorithm, ENV, short | LEARN_EARLY)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder), setup, ENV)
        learner = train(run, on_step=lambda step: times.setdefault(step, time.perf_counter()))
    assert bool(learner.dreams) is dreaming
    return MEASURED / (times[STEPS] - times[STEPS - MEASURED])


def main() -> None:
    """Measure, print a table, and one JSON object as the last line."""
    prepare_to_compute()
    console = Console(width=110)
    speed = gflops()
    options = resolve("popsan_dream", ENV, {}).agent_options
    published_sizes = override(options, {"actor.hidden": [256, 256], "batch": 256, "warmup": 0})
    transitions = random_transitions(DATA)
    agent = agent_with(published_sizes, transitions[:4000])
    policy = Agent.policy_class(published_sizes, agent.spaces)
    policy.load(agent.policy_weights())
    observation = transitions[0].observation

    figures = {"act_ms": median_ms(lambda: policy.act(observation, None, None), 2000)}
    with matmul_precision("medium"):
        delay = published_sizes.policy_delay  # updates per call: the actor is updated in one of them
        spent = median_ms(lambda: [agent.update_policy(0.0) for _ in range(delay)], 40)
        figures["td3_update_ms"] = spent / delay
        figures["ensemble_step_ms"] = median_ms(
            lambda: agent.dynamics.learn(agent.replay, agent.generator), 30
        )
        began, imagined = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            imagined += agent.imagine(1024).imagined
        figures["imagined_per_s"] = imagined / (time.perf_counter() - began)
    figures["train_steps_per_s"] = training_speed("popsan", False)
    figures["train_steps_per_s_dreaming"] = training_speed("popsan_dream", True)

    table = Table("on one thread", "here", "target", "published code", title=f"PopSAN, {speed:.0f} GFLOP/s")
    for name, text, bar, published in (
        ("act_ms", "one decision, published actor", "≤ 0.4 ms", "3.6 ms"),
        ("td3_update_ms", "TD3 update, batch 256, published actor", "≤ 20 ms", "70 ms"),
        ("ensemble_step_ms", "ensemble training step, batch 256", "≤ 70 ms", "695 ms"),
        ("imagined_per_s", "imagined transitions per second", "≥ 10,000", "1,075"),
        ("train_steps_per_s", "env steps/s in training, popsan", "≥ 45", "16.7"),
        ("train_steps_per_s_dreaming", "env steps/s in training, popsan_dream", "≥ 30", "1.1"),
    ):
        table.add_row(text, f"{figures[name]:.3g}", bar, published)
    console.print(table)

    published = resolve("popsan_dream_published", ENV, {}).agent_options.model
    names = (
        "ticks",
        "linear_input",
        "hidden",
        "blocks",
        "neurons_per_scale",
        "readout",
        "population_readout",
    )
    sizes = {f"model.{name}": getattr(published, name) for name in names}
    compared = {"default": options, "published sizes": override(options, sizes)}
    table = Table(
        "world model", "1 step", "5 steps", "ms per update", title="held-out error / no-change error"
    )
    for name, model_options in compared.items():
        agent = agent_with(model_options, transitions)
        began = time.perf_counter()
        with matmul_precision("medium"):
            for _ in track(range(UPDATES), f"training {name}", console=console, transient=True):
                agent.dynamics.learn(agent.replay, agent.generator)
        spent = (time.perf_counter() - began) / UPDATES * 1e3
        error = agent.model_error()
        table.add_row(
            name, f"{error['model_error_1_step']:.4f}", f"{error['model_error_5_step']:.4f}", f"{spent:.0f}"
        )
    console.print(table)
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
