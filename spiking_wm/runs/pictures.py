"""Picture files of a run: learning curve, and comparison of a dream with reality."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from spiking_wm.core.extras import missing_extra
from spiking_wm.core.files import write_atomically
from spiking_wm.runs import figures
from spiking_wm.runs.folder import Run

_FILM_SCALE, _FILM_PACE = 3, 200  # magnification; milliseconds per step


def draw(path: Path) -> list[Path]:
    """Draw all pictures that the run at ``path`` has data for; returns the files."""
    run = Run(path)
    made = []
    if run.table("episodes") or run.table("evaluations"):
        made.append(_save(figures.learning(run), path / "curve.png"))
    segment = run.dream_against_reality()
    if segment and segment["real"].ndim == 4:
        made.append(_save(figures.film_strip(run, segment), path / "dream.png"))
        made.append(film(segment, path / "dream.gif"))
    elif segment:
        made.append(_save(figures.values_of_segment(run, segment), path / "dream.png"))
    return made


def film(segment: Mapping[str, np.ndarray], path: Path) -> Path:
    """Write an animation of a segment of pictures: real, predicted, and their difference, side by side.

    Raises:
        UserError: if the extra for writing it is not installed.
    """
    with missing_extra():
        import imageio.v3 as iio

    real, dream = (np.stack([figures.shown(p) for p in segment[name]]) for name in ("real", "dream"))
    apart = np.abs(real.astype(np.int16) - dream).astype(np.uint8)
    frames = np.concatenate([real, dream, apart], 2).repeat(_FILM_SCALE, 1).repeat(_FILM_SCALE, 2)
    write_atomically(path, iio.imwrite("<bytes>", frames, extension=path.suffix, duration=_FILM_PACE, loop=0))
    return path


def _save(figure: Figure, path: Path) -> Path:
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], dpi=120)
    write_atomically(path, content.getvalue())
    return path
