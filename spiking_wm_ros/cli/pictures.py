"""Pictures of a run: its learning curve, and a dream beside reality."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from spiking_wm_ros.agents.run import Run


def draw(path: Path) -> list[Path]:
    """Draw what the run at ``path`` has data for; returns the files."""
    run = Run(path)
    made = []
    if run.table("episodes") or run.table("evaluations"):
        made.append(learning_curve(run))
    stretch = run.dream_against_reality()
    if stretch:
        made.append(dream_against_reality(run, stretch))
    return made


def learning_curve(run: Run) -> Path:
    """Returns over environment steps, with the dream phases marked."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    episodes, evaluations, dreams = (run.table(name) for name in ("episodes", "evaluations", "dreams"))
    steps = [int(row["step"]) for row in episodes]
    axes.plot(steps, [float(row["return"]) for row in episodes], ".", color="0.75", label="training episode")
    if evaluations:
        steps = [int(row["step"]) for row in evaluations]
        mean = np.array([float(row["mean"]) for row in evaluations])
        std = np.array([float(row["std"]) for row in evaluations])
        axes.plot(steps, mean, "o-", label="greedy evaluation, mean ± std")
        axes.fill_between(steps, mean - std, mean + std, alpha=0.2)
    for index, row in enumerate(dreams if len(dreams) <= 60 else []):
        label = "dream phase" if index == 0 else None
        axes.axvline(int(row["step"]), color="tab:purple", alpha=0.3, linewidth=1, label=label)
    title = f"{run.config.algorithm} in {run.config.env}"
    axes.set(xlabel="environment steps", ylabel="return", title=title)
    axes.legend(loc="best", fontsize="small")
    return _save(figure, run.path / "curve.png")


def dream_against_reality(run: Run, stretch: Mapping[str, np.ndarray]) -> Path:
    """The observation values that moved most in a held-out stretch, real and dreamed."""
    real, dream = stretch["real"], stretch["dream"]
    shown = np.argsort(real.std(0))[::-1][:6]
    columns = 2 if len(shown) > 1 else 1
    rows = -(-len(shown) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(9, 2.1 * rows), squeeze=False, sharex=True)
    for axes, index in zip(grid.flat, shown):
        axes.plot(range(1, len(real) + 1), real[:, index], "k.-", label="real")
        axes.plot(
            range(1, len(dream) + 1), dream[:, index], "o-", color="tab:purple", alpha=0.7, label="dreamed"
        )
        axes.set_ylabel(f"observation {index}")
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    for axes in grid[-1]:
        axes.set_xlabel("steps without looking")
    grid.flat[0].legend(fontsize="small")
    figure.suptitle(f"Dream against reality, held-out data, {run.config.env}")
    return _save(figure, run.path / "dream.png")


def _save(figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
