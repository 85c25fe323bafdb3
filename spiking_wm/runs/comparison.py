"""Comparison of runs: groups of seeds, mean learning curves, steps to a threshold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from spiking_wm.core.errors import UserError
from spiking_wm.runs.config import RunConfig
from spiking_wm.runs.folder import Run

_OF_NO_MATTER = (
    "seed",
    "steps",
    "checkpoint_every",
    "replay_file",
)  # options that may differ between runs of the same group
_SHARE = 0.9  # default threshold, as a share of the way from the worst first to the best last evaluation


class Curve(NamedTuple):
    """Greedy evaluations of a run; each array is ``[evaluations]``."""

    seed: int
    step: np.ndarray
    seconds: np.ndarray  # since the start of the run
    mean: np.ndarray  # return


class Group(NamedTuple):
    """Runs that differ only in their seeds."""

    label: str
    curves: tuple[Curve, ...]


class Interval(NamedTuple):
    """A mean and half the width of its 95 % confidence interval (Student's t); infinite for one value."""

    mean: Any  # a number, or one for each point
    half: Any


def read(paths: Sequence[Path]) -> tuple[str, list[Group]]:
    """Read runs; returns their common environment and their groups, in the order of ``paths``.

    Raises:
        UserError: if a folder is not a run or has no evaluations, if environments differ, or if a seed occurs
            twice in a group.
    """
    runs = [Run(path) for path in paths]
    configs = [run.config for run in runs]
    envs = sorted({config.env for config in configs})
    if len(envs) > 1:
        raise UserError(f"runs of different environments ({', '.join(envs)}): compare those of one")
    grouped: dict[str, list[Curve]] = {}
    for run, config in zip(runs, configs):
        grouped.setdefault(_label(config, configs), []).append(_curve(run, config))
    for label, curves in grouped.items():
        if len({curve.seed for curve in curves}) < len(curves):
            raise UserError(f"two runs of {label} have the same seed: leave one of them out")
    return envs[0], [Group(label, tuple(curves)) for label, curves in grouped.items()]


def _label(config: RunConfig, configs: Sequence[RunConfig]) -> str:
    """The algorithm, and the options that differ between its runs."""
    others = [other.options for other in configs if other.algorithm == config.algorithm]
    differing = [
        f"{name}:={value}"
        for name, value in config.options.items()
        if name not in _OF_NO_MATTER and any(options.get(name) != value for options in others)
    ]
    return " ".join([config.algorithm, *differing])


def _curve(run: Run, config: RunConfig) -> Curve:
    rows = run.table("evaluations")
    if not rows:
        raise UserError(f"{run.path} has no evaluations: train it with evaluation.every:=")
    columns = (np.array([float(row[name]) for row in rows]) for name in ("step", "seconds", "mean"))
    return Curve(int(config.options["seed"]), *columns)


def on_a_grid(curves: Sequence[Curve], by: str) -> tuple[np.ndarray, np.ndarray]:
    """Common values of ``step`` or ``seconds``, and linearly interpolated returns ``[seeds, points]``."""
    places = [getattr(curve, by) for curve in curves]
    last = min(place[-1] for place in places)
    grid = np.unique(np.concatenate(places).clip(max=last))
    return grid, np.array([np.interp(grid, place, curve.mean) for place, curve in zip(places, curves)])


def interval(values: np.ndarray) -> Interval:
    """Confidence interval of values ``[seeds]``, or of each column of ``[seeds, points]``."""
    if len(values) < 2:
        return Interval(values.mean(0), np.full(values.shape[1:], np.inf)[()])
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values, axis=0)
    return Interval(values.mean(0), half)


def default_threshold(groups: Sequence[Group]) -> float:
    """90 % of the way from the worst first evaluation to the best last one (means of groups)."""
    first = min(np.mean([curve.mean[0] for curve in group.curves]) for group in groups)
    last = max(np.mean([curve.mean[-1] for curve in group.curves]) for group in groups)
    return float(first + _SHARE * (last - first))


def steps_to(curve: Curve, threshold: float) -> float:
    """Steps until an evaluation reaches the threshold; infinite if none does."""
    reached = curve.step[curve.mean >= threshold]
    return float(reached[0]) if len(reached) else float("inf")
