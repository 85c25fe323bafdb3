"""`./swm compare`: compare runs in a table, a picture and a CSV file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from rich.console import Console
from rich.table import Table

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import write_atomically
from spiking_wm.core.options import suggestion
from spiking_wm.runs import comparison
from spiking_wm.runs.comparison import Group, Interval

_DEFAULTS = {"threshold": "", "results": "runs/comparison"}


def compare(arguments: Sequence[str]) -> None:
    """Compare runs, given as folders; ``threshold:=`` and ``results:=NAME`` may be among the arguments.

    Raises:
        UserError: if no run is given, an argument is unknown, or the threshold is not a number.
    """
    given = dict(argument.split(":=", 1) for argument in arguments if ":=" in argument)
    for name in given:
        if name not in _DEFAULTS:
            raise UserError(f"unknown argument '{name}'{suggestion(name, _DEFAULTS)}")
    paths = [Path(argument) for argument in arguments if ":=" not in argument]
    if not paths:
        raise UserError("no runs to compare: ./swm compare runs/A runs/B")
    env, groups = comparison.read(paths)
    chosen = _DEFAULTS | given
    try:
        threshold = float(chosen["threshold"] or comparison.default_threshold(groups))
    except ValueError:
        raise UserError(f"threshold:={chosen['threshold']} is not a number") from None
    target = Path(chosen["results"])
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target.with_name(f"{target.name}.csv"), _csv(groups).encode())
    _draw(env, groups, threshold, target.with_name(f"{target.name}.png"))
    _tell(env, groups, threshold, target)


def _csv(groups: Sequence[Group]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("runs", "seed", "step", "seconds", "mean_return"))
    for group in groups:
        for curve in sorted(group.curves):
            rows = zip(curve.step, curve.seconds, curve.mean)
            writer.writerows(
                (group.label, curve.seed, int(step), seconds, mean) for step, seconds, mean in rows
            )
    return text.getvalue()


def _draw(env: str, groups: Sequence[Group], threshold: float, path: Path) -> None:
    """Draw curves by steps and by time: seeds (thin), mean (thick) and its 95 % interval (band)."""
    figure, panels = plt.subplots(1, 2, figsize=(12, 4.8), sharey=True)
    for axes, by, label in zip(panels, ("step", "seconds"), ("environment steps", "seconds since the start")):
        for number, group in enumerate(groups):
            colour = f"C{number % 10}"
            for curve in group.curves:
                axes.plot(getattr(curve, by), curve.mean, color=colour, alpha=0.3, linewidth=1)
            grid, values = comparison.on_a_grid(group.curves, by)
            mean, half = comparison.interval(values)
            many = f"{len(group.curves)} seeds" if len(group.curves) > 1 else "one seed"
            axes.plot(grid, mean, color=colour, linewidth=2, label=f"{group.label} ({many})")
            if len(group.curves) > 1:
                axes.fill_between(grid, mean - half, mean + half, color=colour, alpha=0.15)
        axes.axhline(threshold, color="0.6", linestyle=":", linewidth=1)
        axes.set(xlabel=label)
    panels[0].set(ylabel="mean return of greedy episodes")
    panels[0].legend(loc="best", fontsize="small", title="mean, 95 % interval")
    figure.suptitle(env)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _tell(env: str, groups: Sequence[Group], threshold: float, target: Path) -> None:
    columns = ("runs", "seeds", "to step", "final return", "mean of the curve", f"steps to {threshold:.4g}")
    table = Table(*columns, title=env, box=None)
    for group in groups:
        steps, values = comparison.on_a_grid(group.curves, "step")
        needed = [comparison.steps_to(curve, threshold) for curve in group.curves]
        figures = (comparison.interval(values[:, -1]), comparison.interval(values.mean(1)))
        table.add_row(
            group.label,
            str(len(group.curves)),
            f"{steps[-1]:.0f}",
            *map(_with_interval, figures),
            " ".join("-" if np.isinf(x) else f"{x:.0f}" for x in sorted(needed)),
        )
    console = Console(markup=False, emoji=False)
    console.print(table)
    console.print("means over seeds, with their 95 % interval (Student's t)", soft_wrap=True)
    console.print(f"written: {target}.png, {target}.csv", soft_wrap=True)


def _with_interval(found: Interval) -> str:
    return f"{found.mean:.4g}" if np.isinf(found.half) else f"{found.mean:.4g} ± {found.half:.2g}"
