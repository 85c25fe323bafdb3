"""Spiking Heidelberg Digits (SHD, Cramer et al. 2020): spoken digits as spikes of 700 cochlear fibres."""

from pathlib import Path

import numpy as np
import torch

from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.datasets.labelled import Labelled

_FIBRES, _SECONDS = 700, 1.4  # the longest recording is 1.37 s
PARTS = ("train", "test")
LAYOUT = """FOLDER/
  shd_train.h5   as published (https://zenkelab.org/datasets/, shd_train.h5.gz, unpacked)
  shd_test.h5"""


def load(folder: Path, part: str, steps: int = 100, together: int = 5) -> Labelled:
    """Spike counts ``[steps, B, 700 / together]`` (uint8) and digits ``[B]`` (0 to 19: English, German).

    Args:
        folder: folder with the published files, see `LAYOUT`.
        part: ``train`` or ``test``.
        steps: number of time bins for the 1.4 s.
        together: number of neighbouring fibres per count.

    Raises:
        UserError: if the file is missing or not an SHD file, or the extra ``data`` is not installed.
    """
    with missing_extra():
        import h5py

    path = Path(folder) / f"shd_{part}.h5"
    if not path.is_file():
        raise UserError(f"{path} is missing; the expected layout is\n{LAYOUT}")
    try:
        with h5py.File(path) as file:
            times, fibres = file["spikes/times"][:], file["spikes/units"][:]
            labels = file["labels"][:].astype(np.int64)
    except (OSError, KeyError) as error:
        raise UserError(f"{path} is not an SHD file ({error}); the expected layout is\n{LAYOUT}") from None
    counts = np.zeros((steps, len(labels), _FIBRES // together), np.uint8)
    for at, (when, which) in enumerate(zip(times, fibres)):
        step = (when.astype(np.float64) * (steps / _SECONDS)).astype(np.int64).clip(0, steps - 1)
        np.add.at(counts, (step, at, which.astype(np.int64) // together), 1)
    return Labelled(torch.from_numpy(counts), torch.from_numpy(labels))
