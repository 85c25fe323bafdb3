"""Statistics over seeds, with stratified bootstrap intervals by rliable (Agarwal et al. 2021)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from spiking_wm.core.extras import missing_extra

with missing_extra():
    from rliable import library, metrics

REPETITIONS = 5000  # bootstrap samples


class Estimate(NamedTuple):
    """A statistic and its 95 % interval; the interval is NaN if a sample has a single seed."""

    value: float
    low: float
    high: float

    def format(self, digits: int = 0) -> str:
        """Text, as ``8,100 [7,900, 8,300]``."""
        value, low, high = (f"{number:,.{digits}f}" for number in self)
        return value if np.isnan(self.low) else f"{value} [{low}, {high}]"


def mean(scores: np.ndarray) -> Estimate:
    """Mean of scores ``[seeds]``."""
    return _estimate(np.mean, scores)


def interquartile_mean(scores: np.ndarray) -> Estimate:
    """Mean of the middle half of scores ``[seeds]``."""
    return _estimate(metrics.aggregate_iqm, scores)


def difference(scores: np.ndarray, others: np.ndarray) -> Estimate:
    """Mean of scores ``[seeds]`` minus that of others; both are resampled independently."""
    return _estimate(lambda x, y: np.mean(x) - np.mean(y), scores, others)


def probability_of_improvement(scores: np.ndarray, others: np.ndarray) -> Estimate:
    """Probability that a score ``[seeds]`` is above one of the others."""
    return _estimate(metrics.probability_of_improvement, scores, others)


def band(returns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds ``[points]`` of the 95 % interval of the mean over seeds of returns ``[seeds, points]``."""
    _, low, high = _bootstrap(lambda drawn: drawn.mean((0, 1)), returns)
    return low, high


def area(steps: np.ndarray, returns: np.ndarray, end: int) -> np.ndarray:
    """Mean return ``[seeds]`` over steps 0 to ``end``: the area under each curve, divided by ``end``.

    Args:
        steps: ascending steps ``[points]`` of evaluations; between them curves are straight.
        returns: returns ``[seeds, points]``.
        end: last step, not above the last of ``steps``.
    """
    grid = np.union1d(steps[steps < end], [0, end])
    curves = np.stack([np.interp(grid, steps, curve) for curve in returns])
    return np.trapezoid(curves, grid, axis=1) / end


def _estimate(statistic: Callable, *samples: np.ndarray) -> Estimate:
    if min(map(len, samples)) < 2:
        return Estimate(float(statistic(*(sample[:, None] for sample in samples))), np.nan, np.nan)
    return Estimate(*(float(x[0]) for x in _bootstrap(lambda *drawn: [statistic(*drawn)], *samples)))


def _bootstrap(statistics: Callable, *samples: np.ndarray) -> tuple[np.ndarray, ...]:
    """Statistics ``[N]`` of samples ``[seeds, ...]``, and the lower and upper bounds of their intervals.

    ``statistics`` is called with the samples, or with new ones drawn from them, as ``[seeds, 1, ...]``.
    """
    np.random.seed(0)  # rliable draws from NumPy's global generator
    of_one_task = [np.expand_dims(sample, 1) for sample in samples]
    values, intervals = library.get_interval_estimates(
        {"": of_one_task[0] if len(samples) == 1 else of_one_task},
        lambda *drawn: np.asarray(statistics(*drawn)),
        reps=REPETITIONS,
    )
    return values[""], *intervals[""]
