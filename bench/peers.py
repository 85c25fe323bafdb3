"""Training speed and returns beside stable-baselines3's TD3 in HalfCheetah, in turns on one thread.

Run as ``./swm bench peers``: environment steps per second of complete training, and the time of a decision.
All arms have batches of 256, and hidden layers 256-256 in actor and critic. Each arm is a process of its own
that waits while another one has its turn. Ratios are taken turn by turn; the table gives medians over turns,
with the smallest and the largest value in brackets.

With ``minutes:=N`` each arm trains for N minutes from its first step on, in turns; waiting and
evaluations do not count. An evaluation is ten greedy games with the start states that `./swm train` evaluates
with. Writes ``results/peers_halfcheetah.csv`` and ``.png``. The last line is JSON.
"""

import csv
import json
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from _turns import ENV, EVALUATION_SEEDS, SEED, Arm, ask, processes
from _yardstick import gflops
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from spiking_wm.core.presets import resolve
from spiking_wm.core.process import prepare_to_compute

MINUTES = float(dict(argument.split(":=") for argument in sys.argv[1:]).get("minutes", 0))
RESULTS = Path(__file__).resolve().parents[1] / "results"
TURNS, DECISIONS = 10, 2000
# when only speed is measured
LEARN_EARLY = {"warmup": 1000, "learn_after": 1000, "dream.after": 1000, "dream.halving": 0}
EVERY = 2500  # steps between evaluations
PEER = "sb3_td3"

# constants that go with TD3's critic, in place of those of the presets
PLAIN = {
    "critic.kind": "plain",
    "critic.lr": 3e-4,
    "critic.beta1": 0.9,
    "actor.lr": 3e-4,
    "actor.beta1": 0.9,
    "actor.averaging": 1.0,
    "actor.noise": "fixed",
    "policy_delay": 2,
    "warmup": 10_000,
    "learn_after": 1000,
}
ARMS = {
    "sb3_td3": Arm("stable-baselines3, TD3", None, {"warmup": 10_000}),
    "popsan_plain": Arm("popsan, plain critic", "popsan", PLAIN),
    "popsan": Arm("popsan, batch-renormalised critic", "popsan", {}),
    "popsan_dream_plain": Arm("popsan_dream, plain critic", "popsan_dream", PLAIN),
    "popsan_dream": Arm("popsan_dream, batch-renormalised critic", "popsan_dream", {}),
}


class Evaluation(NamedTuple):
    """A row of the CSV; ``mean`` and ``std`` are those of the returns of the games."""

    arm: str
    seed: int
    step: int
    minutes: float
    mean: float
    std: float


def speeds(console: Console) -> dict[str, float]:
    """Measure steps per second and decisions; returns the figures of the last line."""
    schedule = resolve("popsan_dream", ENV, LEARN_EARLY).schedule
    length = schedule.dream.every or 250  # steps of a turn: one dream phase in each
    steps, spent = LEARN_EARLY["warmup"] + length, {name: [] for name in ARMS}
    title = f"training, one thread, {gflops():.0f} GFLOP/s"
    with processes({name: arm.but(LEARN_EARLY) for name, arm in ARMS.items()}) as pipes:
        for pipe in pipes.values():
            ask(pipe, "train", steps)
        for turn in track(range(TURNS + 1), "in turns", console=console, transient=True):
            steps += length
            for name in list(ARMS)[:: 1 if turn % 2 else -1]:  # no arm always after the same one
                spent[name].append(ask(pipes[name], "train", steps))
        decision = {name: ask(pipe, "decide", DECISIONS) for name, pipe in pipes.items()}
    speed = {name: length / np.array(turns[1:]) for name, turns in spent.items()}  # the first is a warm-up
    ratio = {name: each / speed[PEER] for name, each in speed.items()}
    table = Table("arm", "steps/s", "ratio to TD3", "decision, ms", title=title)
    for name, arm in ARMS.items():
        table.add_row(
            arm.label, spread(speed[name], "0f"), spread(ratio[name], "2f"), f"{decision[name]:.3f}"
        )
    console.print(table)
    figures = {f"{name}_steps_per_s": np.median(each) for name, each in speed.items()}
    figures |= {f"{name}_ratio": np.median(each) for name, each in ratio.items() if name != PEER}
    return figures | {"decision_ms": decision["popsan"], "sb3_td3_decision_ms": decision[PEER]}


def spread(values: np.ndarray, decimals: str) -> str:
    """Median, smallest and largest value as text."""
    middle, low, high = (f"{value:.{decimals}}" for value in (np.median(values), values.min(), values.max()))
    return f"{middle} ({low} to {high})"


def returns(minutes: float, console: Console) -> dict[str, float]:
    """Train each arm for some minutes, write CSV and picture; returns the figures of the last line."""
    spent, rows, step = dict.fromkeys(ARMS, 0.0), [], 0
    RESULTS.mkdir(parents=True, exist_ok=True)
    with processes(ARMS) as pipes, console.status("training") as status:
        while training := [name for name in ARMS if spent[name] < minutes]:
            step += EVERY
            for name in training:
                status.update(f"up to step {step}: {name}, {spent[name]:.1f} of {minutes:g} minutes")
                spent[name] += ask(pipes[name], "train", step) / 60
                found = np.array(ask(pipes[name], "evaluate", EVALUATION_SEEDS))
                rows.append(Evaluation(name, SEED, step, spent[name], found.mean(), found.std()))
            write(rows)
    table = Table("arm", "steps", "minutes", "last return", "highest", title=f"{minutes:g} minutes each")
    figures = {}
    for name, arm in ARMS.items():
        curve = [row for row in rows if row.arm == name]
        last, highest = curve[-1], max(row.mean for row in curve)
        table.add_row(arm.label, f"{last.step}", f"{last.minutes:.1f}", f"{last.mean:.0f}", f"{highest:.0f}")
        figures |= {f"{name}_return": last.mean, f"{name}_steps": last.step}
    console.print(table)
    return figures


def write(rows: list[Evaluation]) -> None:
    """Write the table of evaluations, and draw returns by minutes of training."""
    with open(RESULTS / "peers_halfcheetah.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("arm", "seed", "step", "minutes", "return", "std"))
        for arm, seed, step, minutes, mean, std in rows:
            writer.writerow((arm, seed, step, f"{minutes:.3f}", f"{mean:.1f}", f"{std:.1f}"))
    figure = Figure(figsize=(8, 4.5), layout="tight")
    axes = figure.subplots()
    for name, arm in ARMS.items():
        curve = [row for row in rows if row.arm == name]
        axes.plot([row.minutes for row in curve], [row.mean for row in curve], ".-", label=arm.label)
    axes.set(xlabel="minutes of training, one thread", ylabel="mean return of greedy games", title=ENV)
    axes.legend(loc="best", fontsize="small")
    figure.savefig(RESULTS / "peers_halfcheetah.png", dpi=120)


def main() -> None:
    """Measure, print a table, and one JSON object as the last line."""
    prepare_to_compute()
    console = Console(width=110)
    figures = returns(MINUTES, console) if MINUTES else speeds(console)
    print(json.dumps({name: round(float(value), 4) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
