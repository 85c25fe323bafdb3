"""Learning curves of several runs as one CSV and one PNG: mean and range over seeds by algorithm.

Run as ``./swm shell python results/compare.py results/NAME RUN RUN ...``.
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


def main() -> None:
    """Read evaluations, write ``NAME.csv`` and ``NAME.png``, print the last common evaluation."""
    target, *paths = sys.argv[1:]
    curves: dict[str, dict[int, dict[int, float]]] = defaultdict(dict)  # algorithm, seed, step
    for path in paths:
        run = Run(Path(path))
        evaluations = {int(row["step"]): float(row["mean"]) for row in run.table("evaluations")}
        curves[run.config.algorithm][run.config.options["seed"]] = evaluations
    with open(f"{target}.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("algorithm", "seed", "step", "mean_return"))
        for algorithm, seeds in curves.items():
            for seed, evaluations in sorted(seeds.items()):
                writer.writerows((algorithm, seed, step, value) for step, value in evaluations.items())
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for algorithm, seeds in curves.items():
        steps = sorted(set.intersection(*(set(evaluations) for evaluations in seeds.values())))
        values = np.array([[evaluations[step] for step in steps] for evaluations in seeds.values()])
        (line,) = axes.plot(steps, values.mean(0), label=f"{algorithm}, mean of {len(values)} seeds")
        axes.fill_between(steps, values.min(0), values.max(0), alpha=0.2, color=line.get_color())
        spread = " ".join(f"{value:.0f}" for value in values[:, -1])
        print(f"{algorithm}: step {steps[-1]}, mean {values[:, -1].mean():.0f} (seeds: {spread})")
    axes.set(xlabel="environment steps", ylabel="mean return of greedy episodes", title=Path(target).name)
    axes.legend(loc="best")
    figure.tight_layout()
    figure.savefig(f"{target}.png", dpi=120)


if __name__ == "__main__":
    main()
