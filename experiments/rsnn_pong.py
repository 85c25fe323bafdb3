"""Recurrent spiking networks in Pong: awake, dreaming, planning, and controls (Capone & Paolucci).

Run as ``./swm experiment rsnn_pong``, or in part, as with ``arms:=awake,dream seeds:=10 games:=2000``, or
from pixels with ``env:=PongPixels-v0``; Boxing is ``env:=BoxingPixels-v0``. All seeds of an arm, starting at
``first_seed:=``, run in parallel in one process. An arm that was stopped is resumed; a finished arm is only
drawn. Writes ``rsnn_ENV.csv`` and ``.png`` (figures 2C, 2D, 2E and 3C of the paper) and
``rsnn_ENV_plans.png`` (3D, and 4A for Boxing) to ``runs/rsnn_pong``, or to ``results:=``.
"""

import csv
import io
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from scipy import stats

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from _kept import check_unchanged
from rich.progress import track

from spiking_wm.agents.rsnn.games import Games
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import write_atomically
from spiking_wm.core.options import canonical, values
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.schedule import Schedule
from spiking_wm.core.storage import load, pack

ROOT = Path(__file__).resolve().parents[1]
MODEL_STOPS = 50_000  # steps
EVERY, JUDGED = 50, 5  # games per table row; evaluation games per row


class Arm(NamedTuple):
    """A variant: its title, preset and options."""

    text: str
    algorithm: str
    given: dict


ARMS = {
    "awake": Arm("awake only", "rsnn", {}),
    "dream": Arm("dreams after games", "rsnn_dream", {}),
    "plan": Arm("planning 1 step", "rsnn_plan", {}),
    "plan5": Arm("planning 5 steps", "rsnn_plan", {"plan.steps": 5}),
    "plan10": Arm("planning 10 steps", "rsnn_plan", {"plan.steps": 10}),
    "plan20": Arm("planning 20 steps", "rsnn_plan", {"plan.steps": 20}),
    "asleep": Arm(
        "the policy learns in dreams only (figure 2D)", "rsnn_dream", {"policy.learn_awake": False}
    ),
    "stopped": Arm(
        "the same, and the model stops (figure 2E)",
        "rsnn_dream",
        {"policy.learn_awake": False, "model.stop_after": MODEL_STOPS},
    ),
    "twice": Arm("control: awake only, two updates per game", "rsnn", {"updates_per_step": 0.02}),
    "shuffled": Arm("control: dreams in a shuffled model", "rsnn_dream", {"dream.shuffled": True}),
    "paper": Arm("the paper's constants, with dreams", "rsnn_paper", {}),
    "published_code": Arm("the published code's constants, with dreams", "rsnn_published_code", {}),
}


def play(name: str, env: str, seeds: range, games: int, folder: Path) -> list[dict]:
    """Run or resume an arm until it is finished; returns one row for every `EVERY` games.

    Raises:
        UserError: if it was started with other options.
    """
    arm, kept = ARMS[name], folder / f"{env}_{name}_{seeds[0]}-{seeds[-1]}.safetensors"
    setup = resolve(arm.algorithm, env, arm.given)
    played, rows = Games(env, setup, seeds), []
    options = values(setup.agent_options) | values(setup.schedule)
    if kept.exists():
        tensors, facts = load(kept)
        known = type(setup.agent_options)
        before = {canonical(known, n) or canonical(Schedule, n): v for n, v in facts["options"].items()}
        check_unchanged(kept, options, before)  # by current option names
        played.networks.restore(tensors)
        played.counts, rows = facts["counts"], facts["rows"]
    for _ in track(range(len(rows), games // EVERY), f"{name}, {len(seeds)} seeds"):
        returns = np.mean([played.play() for _ in range(EVERY)], 0)
        rows.append(
            {
                "arm": name,
                **played.counts,
                "environment_steps": played.environment_steps,
                **summary("return", returns),
                **summary("frozen", played.evaluate(JUDGED)),
            }
        )
        facts = {"counts": played.counts, "rows": rows, "options": options}
        write_atomically(kept, pack(played.networks.snapshot(), facts))
    return rows[: games // EVERY]


def summary(name: str, values: np.ndarray) -> dict:
    """Mean, standard error, 80th percentile over seeds, and every seed."""
    return {
        f"{name}_mean": round(float(values.mean()), 4),
        f"{name}_sem": round(float(values.std(ddof=1) / len(values) ** 0.5), 4) if len(values) > 1 else 0.0,
        f"{name}_p80": round(float(np.percentile(values, 80)), 4),
        f"{name}_seeds": " ".join(f"{value:.3g}" for value in values),
    }


def lead(rows: list[dict], others: list[dict], last: int) -> tuple[float, float]:
    """Difference of the mean return of the last games between two arms, at equal numbers of games.

    Returns:
        The mean over pairs of seeds, and half the width of its 95 % confidence interval (Student's t).
    """
    equal = min(len(rows), len(others))
    first = max(0, equal - last // EVERY)
    mine, theirs = (
        np.mean([[float(x) for x in row["return_seeds"].split()] for row in arm[first:equal]], 0)
        for arm in (rows, others)
    )
    difference = mine - theirs
    error = stats.sem(difference) * stats.t.ppf(0.975, len(difference) - 1)
    return float(difference.mean()), float(error)


def draw(curves: dict[str, list[dict]], target: Path) -> None:
    """Draw training and evaluation returns by environment steps: mean, standard error, 80th percentile."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 5), sharey=True)
    for name, rows in curves.items():
        steps = np.array([row["environment_steps"] for row in rows])
        for axes, what in zip(panels, ("return", "frozen")):
            mean, sem, high = (np.array([r[f"{what}_{x}"] for r in rows]) for x in ("mean", "sem", "p80"))
            (line,) = axes.plot(steps, mean, label=ARMS[name].text)
            axes.fill_between(steps, mean - sem, mean + sem, alpha=0.2, color=line.get_color())
            axes.plot(steps, high, ":", linewidth=1, color=line.get_color())
    panels[0].set(xlabel="environment steps, all counted", ylabel="return of a game", title="training")
    panels[1].set(xlabel="environment steps, all counted", title=f"frozen policy, {JUDGED} games")
    panels[0].legend(loc="best", title="mean, standard error; dotted: 80th percentile")
    figure.tight_layout()
    figure.savefig(target, dpi=120)


def draw_plans(curves: dict[str, list[dict]], target: Path) -> None:
    """Draw the final return (mean of 250 games, standard error over seeds) by the number of planned steps."""
    figure, axes = plt.subplots(figsize=(6, 4.5))
    for name, rows in curves.items():
        last = np.array([[float(x) for x in row["return_seeds"].split()] for row in rows[-250 // EVERY :]])
        seeds = last.mean(0)
        error = seeds.std(ddof=1) / len(seeds) ** 0.5 if len(seeds) > 1 else 0.0
        if ARMS[name].algorithm == "rsnn_plan":
            steps = ARMS[name].given.get("plan.steps", 1)
            axes.errorbar(steps, seeds.mean(), error, fmt="o", color="C2", capsize=3)
        elif name in ("awake", "dream"):
            colour = "black" if name == "awake" else "C1"
            axes.axhspan(seeds.mean() - error, seeds.mean() + error, alpha=0.2, color=colour)
            axes.axhline(seeds.mean(), color=colour, label=ARMS[name].text)
    axes.set(xlabel="steps planned ahead", ylabel="return, last 250 games", title="plans")
    axes.legend(loc="best")
    figure.tight_layout()
    figure.savefig(target, dpi=120)


def main() -> None:
    """Run the chosen arms, write table and pictures, print the last rows."""
    folder = ROOT / "runs/rsnn_pong"
    defaults = {"arms": ",".join(ARMS), "env": "PongRam-v0", "seeds": 10, "first_seed": 0, "games": 2000}
    given = arguments(defaults | {"folder": folder, "results": folder})
    arms = given["arms"].split(",")
    if unknown := set(arms) - set(ARMS):
        raise UserError(f"unknown arm '{min(unknown)}'; known: {', '.join(ARMS)}")
    env, seeds, games = given["env"], given["seeds"], given["games"]
    first = given["first_seed"]
    if seeds < 1 or first < 0 or games < EVERY:
        raise UserError(f"seeds:= is at least 1, first_seed:= at least 0, games:= at least {EVERY}")
    prepare_to_compute()
    folder, results = given["folder"], given["results"]
    for path in (folder, results):
        path.mkdir(parents=True, exist_ok=True)
    curves = {name: play(name, env, range(first, first + seeds), games, folder) for name in arms}
    text = io.StringIO()
    writer = csv.DictWriter(text, [*curves[arms[0]][0]], lineterminator="\n")
    writer.writeheader()
    for rows in curves.values():
        writer.writerows(rows)
    write_atomically(results / f"rsnn_{env}.csv", text.getvalue().encode())
    draw(curves, results / f"rsnn_{env}.png")
    if any(ARMS[name].algorithm == "rsnn_plan" for name in arms):
        draw_plans(curves, results / f"rsnn_{env}_plans.png")
    for name, rows in curves.items():
        last = rows[-1]
        reached = next((row["games"] for row in rows if row["return_mean"] > 0), "never")
        print(f"{name}: last {EVERY} games {last['return_mean']} +- {last['return_sem']}, above 0: {reached}")
        if name != "awake" and "awake" in curves and seeds > 1:
            for span in (EVERY, 1000, games):
                mean, error = lead(rows, curves["awake"], span)
                print(f"  last {span} games ahead of awake by {mean:.3f}, 95 % interval +- {error:.3f}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
