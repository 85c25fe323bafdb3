"""Return by environment steps: awake, with dreams, and with as many updates on real transitions instead.

Run as ``./swm experiment frontier_halfcheetah folder:=runs/frontier_halfcheetah seeds:=0,1,2,3,4``, or in
part, as with ``arms:=awake,dream``, or elsewhere, as with ``env:=Ant-v5``; other arguments, as
``critic.lr:=1e-4``, are options of the algorithm in all arms. Every arm and seed is a run ``ARM_SEED`` in the
folder, ``processes:=2`` at a time are trained, with one thread each. The same command goes on with runs that
were stopped or killed, and extends them if it has more ``steps:=``. ``train:=false`` trains nothing and shows
what is there so far. ``earlier:=FILE.csv`` takes in runs of another folder or machine, as this program wrote
them: they are not trained again, unless they have fewer steps.

Writes ``frontier_ENV.csv`` (every evaluation: the mean return of ten greedy games) and ``.png`` to the
folder, or to ``results:=``, and prints a table with 95 % stratified bootstrap intervals over seeds.
"""

import csv
import functools
import io
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np

matplotlib.use("Agg")
import _published
import matplotlib.pyplot as plt
from _intervals import area, band, difference, interquartile_mean, mean, probability_of_improvement
from _runs import Planned, check_begun, train_all
from matplotlib.ticker import EngFormatter

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import write_atomically
from spiking_wm.core.presets import resolve
from spiking_wm.envs.make import make_env
from spiking_wm.runs.comparison import Curve
from spiking_wm.runs.folder import Run

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ["arm", "seed", "step", "return"]  # of the table of evaluations
EARLY = 50_000  # steps over which the area under learning curves is compared


class Arm(NamedTuple):
    """A variant: its title, preset and options."""

    text: str
    algorithm: str
    options: Mapping[str, Any]


ARMS = {
    "awake": Arm("no dreams", "popsan", {}),
    "dream": Arm("dreams", "popsan_dream", {}),
    "replay_control": Arm(
        "as many updates, on real transitions only",
        "popsan_dream",
        {"dream.share": 0, "dream.awake_share": 0},
    ),
}
DEFAULTS = {
    "folder": "",
    "arms": ",".join(ARMS),
    "seeds": "0,1,2,3,4",
    "steps": "100000",
    "env": "HalfCheetah-v5",
    "processes": "2",
    "threshold": "8000",
    "train": "true",
    "results": "",
    "earlier": "",
}


class Curves(NamedTuple):
    """Learning curves of an arm: those that are compared, at common steps, and all that there are."""

    steps: np.ndarray  # [points]
    returns: np.ndarray  # [seeds, points]
    all: Sequence[Curve]


# --- arguments ---


def arguments() -> tuple[dict[str, str], dict[str, str]]:
    """Arguments of the experiment, and options of the algorithm for all its runs.

    Raises:
        UserError: for an argument that is not ``name:=value``, or the option ``seed``.
    """
    own, options = dict(DEFAULTS), {}
    for argument in sys.argv[1:]:
        name, mark, value = argument.partition(":=")
        if not mark or not name:
            raise UserError(f"'{argument}' is not of the form name:=value")
        (own if name in DEFAULTS else options)[name] = value
    if "seed" in options:
        raise UserError(f"seed:={options['seed']} has no effect here: give seeds:=")
    return own, options


def whole(name: str, text: str, least: int) -> int:
    """A whole number.

    Raises:
        UserError: if it is none, or below ``least``.
    """
    try:
        number = int(text)
    except ValueError:
        raise UserError(f"{name}:={text} is not a whole number") from None
    if number < least:
        raise UserError(f"{name}:={text} is below {least}")
    return number


def stem_of(env: str) -> str:
    """Name of files for an environment, without its version: ``frontier_halfcheetah``."""
    return f"frontier_{re.sub(r'-v[0-9]+$', '', env).replace('/', '-').lower()}"


def plan(own: Mapping[str, str], options: Mapping[str, str], folder: Path) -> dict[str, dict[int, Planned]]:
    """All runs by arm and seed.

    Raises:
        UserError: for an unknown arm or option, or an environment that cannot be made.
    """
    names = own["arms"].split(",")
    if unknown := [name for name in names if name not in ARMS]:
        raise UserError(f"unknown arm '{unknown[0]}'; known: {', '.join(ARMS)}")
    env, steps = own["env"], whole("steps", own["steps"], 1)
    seeds = [whole("seeds", text, 0) for text in own["seeds"].split(",")]
    make_env(env).close()
    planned: dict[str, dict[int, Planned]] = {name: {} for name in names}
    for seed in seeds:  # seed by seed, so that arms can be compared early
        for name in names:
            always = {"seed": seed, "steps": steps, "stop_when_solved": False}
            setup = resolve(ARMS[name].algorithm, env, {**options, **ARMS[name].options, **always})
            planned[name][seed] = Planned(folder / f"{name}_{seed}", setup, env)
    return planned


# --- curves ---


def curve_of(run: Planned, seed: int) -> Curve:
    """Evaluations of a run, up to the planned number of steps."""
    rows = [r for r in Run(run.path).table("evaluations") if int(r["step"]) <= run.setup.schedule.steps]
    steps = np.array([int(row["step"]) for row in rows])
    seconds, returns = (np.array([float(row[name]) for row in rows]) for name in ("seconds", "mean"))
    return Curve(seed, steps, seconds, returns)


def earlier_curves(file: str, steps: int) -> dict[str, dict[int, Curve]]:
    """Curves up to a number of steps, by arm and seed, from a CSV as `write_curves` writes it.

    Raises:
        UserError: if it is none.
    """
    found: dict[str, dict[int, Curve]] = {arm: {} for arm in ARMS}
    if not file:
        return found
    try:
        with open(file, newline="") as opened:
            table = csv.DictReader(opened, strict=True)
            if table.fieldnames != COLUMNS:
                raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
            rows = [(r["arm"], int(r["seed"]), int(r["step"]), float(r["return"])) for r in table]
        for arm, seed in dict.fromkeys(row[:2] for row in rows):
            own = np.array([row[2:] for row in rows if row[:2] == (arm, seed)])
            if own[-1, 0] >= steps:
                step, mean = own[own[:, 0] <= steps].T
                found[arm][seed] = Curve(seed, step.astype(int), np.full(len(step), np.nan), mean)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"earlier:={file} is no table of this program ({error})") from None
    return found


def curves_of(runs: Mapping[int, Planned], earlier: Mapping[int, Curve]) -> Curves | None:
    """Curves of an arm, with those of ``earlier`` runs; None if it has no evaluation yet.

    Compared are finished runs, at the steps of their evaluations; while there are none, all that have begun,
    at the steps that they have in common.
    """
    curves = {seed: earlier.get(seed) or curve_of(run, seed) for seed, run in runs.items()}
    found = {seed: curve for seed, curve in curves.items() if len(curve.step)}
    if not found:
        return None
    complete = [curve for seed, curve in found.items() if seed in earlier or runs[seed].finished]
    compared = complete or [*found.values()]
    steps = functools.reduce(np.intersect1d, [curve.step for curve in compared])
    returns = np.stack([curve.mean[np.isin(curve.step, steps)] for curve in compared])
    return Curves(steps, returns, [*found.values()])


def table(arms: Mapping[str, Curves], threshold: int) -> list[list[str]]:
    """Cells of the table: a row for each measure, a column for each arm."""
    early = int(min(EARLY, *(curves.steps[-1] for curves in arms.values())))
    areas = {n: area(c.steps, c.returns, early) if early else c.returns[:, 0] for n, c in arms.items()}
    rows = {"": list(arms)}

    def add(name: str, text: Any) -> None:
        rows[name] = [str(text(arm, curves)) for arm, curves in arms.items()]

    def first(_: str, curves: Curves) -> str:
        reached = curves.steps[curves.returns.mean(0) >= threshold]
        return f"{reached[0]:,}" if len(reached) else "never"

    def against(measure: Any, digits: int) -> Any:
        return lambda n, _: "-" if n == "dream" else measure(areas["dream"], areas[n]).format(digits)

    add("seeds", lambda _, c: len(c.returns))
    add("steps", lambda _, c: f"{c.steps[-1]:,}")
    add("last evaluation: mean", lambda _, c: mean(c.returns[:, -1]).format())
    add("last evaluation: interquartile mean", lambda _, c: interquartile_mean(c.returns[:, -1]).format())
    add(
        "last evaluation: standard deviation over seeds",
        lambda _, c: f"{c.returns[:, -1].std(ddof=1):,.0f}" if len(c.returns) > 1 else "-",
    )
    add("best evaluation of each seed: mean", lambda _, c: mean(c.returns.max(1)).format())
    add(f"first step with a mean of at least {threshold:,}", first)
    add(f"mean return over the first {early:,} steps", lambda n, _: mean(areas[n]).format())
    if "dream" in arms and len(arms) > 1:
        add("the same, of `dream` minus this arm's", against(difference, 0))
        add("probability that `dream` has more", against(probability_of_improvement, 2))
    add("hours of computing", lambda _, c: f"{np.nansum([x.seconds[-1] for x in c.all]) / 3600:.2f}")
    return [[name, *cells] for name, cells in rows.items()]


# --- output ---


def markdown(cells: list[list[str]]) -> str:
    """A table of Markdown with aligned columns."""
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def write_curves(arms: Mapping[str, Curves], target: Path) -> None:
    """Write every evaluation as a row ``arm,seed,step,return``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for arm, curves in arms.items():
        for curve in curves.all:
            for step, value in zip(curve.step, curve.mean):
                writer.writerow((arm, curve.seed, step, round(float(value), 2)))
    write_atomically(target, text.getvalue().encode())


def draw(arms: Mapping[str, Curves], env: str, target: Path) -> None:
    """Draw the mean of each arm with its interval, every seed thinly, and published figures."""
    figure, axes = plt.subplots(figsize=(9, 5.2))
    for name, (steps, returns, curves) in arms.items():
        text = f"{ARMS[name].text} ({len(returns)} seed{'s' * (len(returns) > 1)})"
        (line,) = axes.plot(steps, returns.mean(0), label=text, linewidth=2)
        for curve in curves:
            axes.plot(curve.step, curve.mean, color=line.get_color(), linewidth=0.5, alpha=0.5)
        if len(returns) > 1:
            axes.fill_between(steps, *band(returns), color=line.get_color(), alpha=0.2, linewidth=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set(xlabel="environment steps", ylabel="mean return of greedy games", title=env)
    axes.legend(loc="best", title="mean, 95 % bootstrap interval, seeds", alignment="left")
    if env in _published.RETURNS and axes.get_xlim()[1] >= _published.AT:
        _published.mark(axes, _published.RETURNS[env])
        figure.text(0.01, 0.01, _published.SOURCES, fontsize=6, color="0.4")
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(target, dpi=120)
    plt.close(figure)


def main() -> None:
    """Train what is not finished, then write tables and picture, and print the table."""
    own, options = arguments()
    if own["train"] not in ("true", "false"):
        raise UserError(f"train:={own['train']} is neither true nor false")
    training, stem = own["train"] == "true", stem_of(own["env"])
    processes, threshold = (
        whole("processes", own["processes"], 1),
        whole("threshold", own["threshold"], -(10**9)),
    )
    folder = Path(own["folder"] or ROOT / "runs" / stem).absolute()
    planned = plan(own, options, folder)
    seeds = next(iter(planned.values()))
    earlier = earlier_curves(own["earlier"], whole("steps", own["steps"], 1))
    runs = [planned[arm][seed] for seed in seeds for arm in planned if seed not in earlier[arm]]
    for run in runs:
        check_begun(run, with_options=training)
    if training and not train_all(runs, processes):
        sys.exit("stopped: the same command goes on")
    arms = {n: found for n, of_arm in planned.items() if (found := curves_of(of_arm, earlier[n]))}
    if not arms:
        raise UserError(f"no run in {folder} has an evaluation yet")
    results = Path(own["results"] or folder)
    results.mkdir(parents=True, exist_ok=True)
    write_curves(arms, results / f"{stem}.csv")
    draw(arms, own["env"], results / f"{stem}.png")
    commits = sorted({commit for run in runs for commit in run.commits})
    print(f"{own['env']}, seeds {', '.join(map(str, seeds))}, commit {' and '.join(commits) or 'unknown'}:")
    print(f"{os.environ.get('SWM_COMMAND', shlex.join(sys.argv))}\n")
    print(markdown(table(arms, threshold)))
    print(f"\n[..]: 95 % stratified bootstrap intervals over seeds. {results / stem}.csv and .png")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
