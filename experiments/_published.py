"""Returns that others published, as marks in a picture of learning curves."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

AT = 100_000  # environment steps
# mean return at that step by environment and method, computed from published curve files
RETURNS = {
    "HalfCheetah-v5": {
        "DR.Q": 9439,
        "BRO, 10 updates a step": 8330,
        "CrossQ": 8112,
        "MR.Q": 7872,
        "REDQ": 7823,
        "DroQ": 7744,
        "SAC": 6156,
    }
}
SOURCES = (
    "Marks: means at 100,000 steps, from published curve files (DR.Q: arXiv 2605.11711; CrossQ: arXiv"
    " 1902.05605).\nVersions v3 to v5 of the task, and greedy and training returns, are not the same."
)


def mark(axes: Axes, returns: Mapping[str, float]) -> None:
    """Mark returns by method at step `AT`, with labels right of the axes that do not overlap."""
    axes.plot([AT] * len(returns), [*returns.values()], "k_", markersize=8, clip_on=False)
    low, high = axes.get_ylim()
    place = np.inf
    for method, value in sorted(returns.items(), key=lambda item: -item[1]):
        place = min(value, place - 0.04 * (high - low))
        axes.annotate(
            f"{method} {value:,}",
            (AT, value),
            (1.02, place),
            textcoords=axes.get_yaxis_transform(),
            fontsize=7,
            va="center",
            arrowprops={"arrowstyle": "-", "linewidth": 0.4, "color": "0.5"},
        )
