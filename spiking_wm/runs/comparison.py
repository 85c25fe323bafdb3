"""Runs side by side: what they have in common, learning curves over seeds, steps to a threshold."""

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
)  # options in which runs may differ and be of one kind
_SHARE = 0.9  # of the way from the worst start to the best end, where nothing else is a threshold


class Curve(NamedTuple):
    """Greedy evaluations of a run, ``[evaluations]`` each."""

    seed: int
    step: np.ndarray
    seconds: np.ndarray  # since it began
    mean: np.ndarray  # return


class Group(NamedTuple):
    """Runs that differ in their seeds only."""

    label: str
    curves: tuple[Curve, ...]


class Interval(NamedTuple):
    """A mean and half of its 95 % interval (Student's t); of one value alone infinitely wide."""

    mean: Any  # a number, or one for each point
    half: Any


def read(paths: Sequence[Path]) -> tuple[str, list[Group]]:
    """The environment of all, and their groups in the order of what was given.

    Raises:
        UserError: if one is no run or was not evaluated, or environments differ, or a seed comes twice.
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
            raise UserError(f"a seed of {label} comes twice: give each run once")
    return envs[0], [Group(label, tuple(curves)) for label, curves in grouped.items()]


def _label(config: RunConfig, configs: Sequence[RunConfig]) -> str:
    """The algorithm, and the options that differ among runs of it."""
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
    """Common values of ``step`` or ``seconds``, and returns there by straight lines, ``[seeds, points]``."""
    places = [getattr(curve, by) for curve in curves]
    last = min(place[-1] for place in places)
    grid = np.unique(np.concatenate(places).clip(max=last))
    return grid, np.array([np.interp(grid, place, curve.mean) for place, curve in zip(places, curves)])


def interval(values: np.ndarray) -> Interval:
    """Of values ``[seeds]``, or of each column of ``[seeds, points]``."""
    if len(values) < 2:
        return Interval(values.mean(0), np.full(values.shape[1:], np.inf)[()])
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values, axis=0)
    return Interval(values.mean(0), half)


def default_threshold(groups: Sequence[Group]) -> float:
    """Nine tenths of the way from the worst first evaluation to the best last one, of groups' means."""
    first = min(np.mean([curve.mean[0] for curve in group.curves]) for group in groups)
    last = max(np.mean([curve.mean[-1] for curve in group.curves]) for group in groups)
    return float(first + _SHARE * (last - first))


def steps_to(curve: Curve, threshold: float) -> float:
    """Steps until an evaluation reaches a return; infinite if none does."""
    reached = curve.step[curve.mean >= threshold]
    return float(reached[0]) if len(reached) else float("inf")
