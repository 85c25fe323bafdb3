"""Learning curves of several runs as one CSV and one PNG: mean and range over seeds by algorithm.

Run as ``./swm shell python results/compare.py results/NAME RUN RUN ...``. The left panel is by
environment steps, the right one by the time since each run began, everything in it.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from spiking_wm_ros.agents.run import Run

Curve = np.ndarray  # [evaluations, 3]: step, seconds, mean return


def read(paths: list[str]) -> dict[str, dict[int, Curve]]:
    """Curves by algorithm and seed."""
    curves: dict[str, dict[int, Curve]] = defaultdict(dict)
    for path in paths:
        run = Run(Path(path))
        evaluations = run.table("evaluations")
        curve = [[float(row[name]) for name in ("step", "seconds", "mean")] for row in evaluations]
        curves[run.config.algorithm][run.config.options["seed"]] = np.array(curve)
    return curves


def on_a_grid(seeds: list[Curve], column: int) -> tuple[np.ndarray, np.ndarray]:
    """Common values of a column, and the returns there ``[seeds, points]``, in between by a line."""
    last = min(curve[-1, column] for curve in seeds)
    grid = np.unique(np.concatenate([curve[:, column] for curve in seeds]).clip(max=last))
    return grid, np.array([np.interp(grid, curve[:, column], curve[:, 2]) for curve in seeds])


def main() -> None:
    """Read evaluations, write ``NAME.csv`` and ``NAME.png``, print the last common evaluation."""
    target, *paths = sys.argv[1:]
    curves = read(paths)
    with open(f"{target}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("algorithm", "seed", "step", "seconds", "mean_return"))
        for algorithm, seeds in curves.items():
            for seed, curve in sorted(seeds.items()):
                writer.writerows((algorithm, seed, int(step), s, value) for step, s, value in curve)
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), sharey=True)
    for algorithm, by_seed in curves.items():
        seeds = [curve for _, curve in sorted(by_seed.items())]
        for axes, column in zip(panels, (0, 1)):
            grid, values = on_a_grid(seeds, column)
            mean = values.mean(0)
            (line,) = axes.plot(grid, mean, label=f"{algorithm}, mean and range of {len(seeds)} seeds")
            axes.fill_between(grid, values.min(0), values.max(0), alpha=0.2, color=line.get_color())
        steps, values = on_a_grid(seeds, 0)
        for text, found in (("last", values[:, -1]), ("mean after the first", values[:, 1:].mean(1))):
            spread = " ".join(f"{value:.4g}" for value in found)
            print(f"{algorithm}: to step {steps[-1]:.0f}, {text} {found.mean():.4g} (seeds: {spread})")
    # at the time at which the faster algorithm was through
    common = min(curve[-1, 1] for seeds in curves.values() for curve in seeds.values())
    for algorithm, seeds in curves.items():
        found = [np.interp(common, curve[:, 1], curve[:, 2]) for _, curve in sorted(seeds.items())]
        spread = " ".join(f"{value:.4g}" for value in found)
        print(f"{algorithm}: after {common:.0f} s, mean {np.mean(found):.4g} (seeds: {spread})")
    panels[0].set(xlabel="environment steps", ylabel="mean return of greedy episodes")
    panels[1].set(xlabel="seconds since the start")
    panels[0].legend(loc="best")
    figure.suptitle(Path(target).name)
    figure.tight_layout()
    figure.savefig(f"{target}.png", dpi=120)


if __name__ == "__main__":
    main()
