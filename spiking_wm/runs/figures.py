"""Matplotlib figures of a run. Notebooks show them; other callers save them."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure as PlainFigure

from spiking_wm.runs.folder import Run

_ASLEEP = "tab:purple"


class Figure(PlainFigure):
    """A figure that notebooks show; pyplot, which keeps windows and figures, is not needed for that."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def _figure(height: float = 3.6, columns: int = 1) -> tuple[Figure, np.ndarray]:
    figure = Figure(figsize=(9, height), layout="tight")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def learning(run: Run) -> Figure:
    """Returns by environment steps, with dream phases."""
    figure, (axes,) = _figure()
    axes.set_title(f"{run.config.algorithm} in {run.config.env}")
    episodes, evaluations = run.table("episodes"), run.table("evaluations")
    steps = [int(row["step"]) for row in episodes]
    axes.plot(steps, [float(row["return"]) for row in episodes], ".", color="0.8", label="training episode")
    if evaluations:
        steps = [int(row["step"]) for row in evaluations]
        mean, std = (np.array([float(row[name]) for row in evaluations]) for name in ("mean", "std"))
        axes.plot(steps, mean, "o-", markersize=4, label="greedy evaluation, mean ± std")
        axes.fill_between(steps, mean - std, mean + std, alpha=0.2)
    for row in run.table("dreams")[:200]:
        axes.axvline(int(row["step"]), color=_ASLEEP, alpha=0.2, linewidth=1)
    axes.set(xlabel="environment steps (lines: dreams)", ylabel="return")
    axes.legend(loc="best", fontsize="small")
    return figure


def phases(run: Run, dreams: Sequence[Mapping[str, str]]) -> Figure:
    """Times at which the learner was awake, and times at which it dreamed."""
    figure, (axes,) = _figure(1.5)
    spans = [(float(row["began"]), float(row["seconds"])) for row in dreams]
    end = max(
        [began + took for began, took in spans] + [float(row["seconds"]) for row in run.table("evaluations")]
    )
    axes.broken_barh([(0, end)], (0, 1), color="#f3c969")
    axes.broken_barh(spans, (0, 1), color=_ASLEEP)
    axes.set(xlabel="seconds since the start", yticks=[], xlim=(0, end))
    axes.set_title("yellow: awake, purple: dreaming", fontsize="small")
    return figure


def model_error(dreams: Sequence[Mapping[str, str]]) -> Figure:
    """Held-out error of the world model after each dream phase."""
    figure, (axes,) = _figure(3)
    steps = [int(row["step"]) for row in dreams]
    for horizon in (1, 5):
        errors = [float(row[f"model_error_{horizon}_step"] or "nan") for row in dreams]
        axes.plot(steps, errors, ".-", label=f"{horizon} step{'s' * (horizon > 1)} ahead")
    axes.axhline(1, color="0.6", linestyle=":")
    axes.set(xlabel="environment steps", ylabel="error relative to no change", yscale="log")
    axes.legend(loc="best", fontsize="small")
    return figure


def segment(found: Mapping[str, np.ndarray]) -> Figure:
    """A held-out segment, real and predicted, and the prediction error by horizon.

    Args:
        found: ``real`` and ``dream``, as returned by `spiking_wm.Agent.dream_against_reality`.
    """
    real, dream = (found[name].reshape(len(found[name]), -1).astype(float) for name in ("real", "dream"))
    ahead = np.arange(1, len(real) + 1)
    figure, (course, error) = _figure(3.2, 2)
    moved = np.argsort(real.std(0))[::-1][:3]
    for number, index in enumerate(moved):
        course.plot(ahead, real[:, index], "-", color=f"C{number}", label=f"value {index}")
        course.plot(ahead, dream[:, index], "o--", markersize=3, color=f"C{number}")
    course.set(xlabel="steps of open-loop prediction", title="real (lines) and dreamed (dots)")
    course.legend(fontsize="small")
    change = np.abs(real - real[:1]).mean(1)
    error.plot(ahead, np.abs(real - dream).mean(1), "o-", color=_ASLEEP, markersize=3, label="dream")
    error.plot(ahead, change, ":", color="0.5", label="prediction of no change after step 1")
    error.set(xlabel="horizon, steps", title="mean absolute error")
    error.legend(fontsize="small")
    return figure


def around_dreams(judged: Sequence[tuple[int, float, float]]) -> Figure:
    """Returns before and after each dream phase."""
    figure, (axes,) = _figure(3)
    places = np.arange(len(judged))
    before, after = (np.array([row[k] for row in judged]) for k in (1, 2))
    axes.vlines(places, before, after, color=_ASLEEP, alpha=0.5)
    axes.plot(places, before, "o", color="0.6", label="before")
    axes.plot(places, after, "o", color=_ASLEEP, label="after")
    axes.set(xlabel="dream phase", ylabel="greedy return")
    axes.set_xticks(places, [str(number) for number, *_ in judged])
    axes.legend(loc="best", fontsize="small")
    return figure


def values_of_segment(run: Run, segment: Mapping[str, np.ndarray]) -> Figure:
    """The observation values that changed most in a held-out segment, real and predicted."""
    real, dream = segment["real"], segment["dream"]
    shown = np.argsort(real.std(0))[::-1][:6]
    columns = 2 if len(shown) > 1 else 1
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(9, 2.1 * rows), layout="tight")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, index in zip(grid.flat, shown):
        axes.plot(range(1, len(real) + 1), real[:, index], "k.-", label="real")
        axes.plot(
            range(1, len(dream) + 1), dream[:, index], "o-", color="tab:purple", alpha=0.7, label="dreamed"
        )
        axes.set_ylabel(f"observation {index}")
    for axes in grid.flat[len(shown) :]:
        axes.axis("off")
    for axes in grid[-1]:
        axes.set_xlabel("steps of open-loop prediction")
    grid.flat[0].legend(fontsize="small")
    figure.suptitle(f"Dream against reality, held-out data, {run.config.env}")
    return figure


def film_strip(run: Run, segment: Mapping[str, np.ndarray]) -> Figure:
    """Pictures of a held-out segment: real (top) and predicted (bottom)."""
    steps = np.unique(np.linspace(1, len(segment["real"]), 8).round().astype(int))
    figure = Figure(figsize=(1.5 * len(steps), 3.6), layout="tight")
    grid = figure.subplots(2, len(steps), squeeze=False)
    for row, name in zip(grid, ("real", "dream")):
        for axes, step in zip(row, steps):
            axes.imshow(shown(segment[name][step - 1]))
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel({"real": "real", "dream": "dreamed"}[name])
    for axes, step in zip(grid[1], steps):
        axes.set_xlabel(f"step {step}")
    figure.suptitle(f"Dream against reality, held-out data, {run.config.env}")
    return figure


def shown(picture: np.ndarray) -> np.ndarray:
    """An observed picture as RGB ``[H, W, 3]``; for stacked frames the newest (last) frame, in grey."""
    return picture if picture.shape[-1] == 3 else np.repeat(picture[..., -1:], 3, -1)
