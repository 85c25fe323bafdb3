"""Pictures of a run: its learning curve, and a dream beside reality."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from spiking_wm.runs.folder import Run

_FILM_SCALE, _FILM_PACE = 3, 200  # pixels to a pixel; milliseconds to a step


def draw(path: Path) -> list[Path]:
    """Draw what the run at ``path`` has data for; returns the files."""
    run = Run(path)
    made = []
    if run.table("episodes") or run.table("evaluations"):
        made.append(learning_curve(run))
    stretch = run.dream_against_reality()
    if stretch and stretch["real"].ndim == 4:
        made += [film_strip(run, stretch), film(run, stretch)]
    elif stretch:
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


def film_strip(run: Run, stretch: Mapping[str, np.ndarray]) -> Path:
    """Pictures of a held-out stretch, real above and dreamed below."""
    steps = np.unique(np.linspace(1, len(stretch["real"]), 8).round().astype(int))
    figure, grid = plt.subplots(2, len(steps), figsize=(1.5 * len(steps), 3.6))
    for row, name in zip(grid, ("real", "dream")):
        for axes, step in zip(row, steps):
            axes.imshow(_seen(stretch[name][step - 1]))
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel({"real": "real", "dream": "dreamed"}[name])
    for axes, step in zip(grid[1], steps):
        axes.set_xlabel(f"step {step}")
    figure.suptitle(f"Dream against reality, held-out data, {run.config.env}")
    return _save(figure, run.path / "dream.png")


def film(run: Run, stretch: Mapping[str, np.ndarray]) -> Path:
    """The same moving: real, dreamed, and by how much they differ, side by side."""
    import imageio.v3 as iio

    real, dream = (np.stack([_seen(picture) for picture in stretch[name]]) for name in ("real", "dream"))
    apart = np.abs(real.astype(np.int16) - dream).astype(np.uint8)
    frames = np.concatenate([real, dream, apart], 2).repeat(_FILM_SCALE, 1).repeat(_FILM_SCALE, 2)
    path = run.path / "dream.gif"
    iio.imwrite(path, frames, duration=_FILM_PACE, loop=0)
    return path


def _seen(picture: np.ndarray) -> np.ndarray:
    """RGB: of one channel grey; of others than three, the last, which of stacked frames is the newest."""
    return picture if picture.shape[-1] == 3 else np.repeat(picture[..., -1:], 3, -1)


def _save(figure, path: Path) -> Path:
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
