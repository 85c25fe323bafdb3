"""Speech features with a class label per frame: TIMIT, LibriSpeech, or others in the same layout.

The recordings may not be redistributed (TIMIT) or are large (LibriSpeech), so users compute the features:
filter banks or MFCCs, and the phone of each frame from TIMIT's ``.PHN`` files or an alignment of LibriSpeech.
"""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from spiking_wm.core.errors import UserError
from spiking_wm.datasets.labelled import UNLABELLED, Labelled

PARTS = ("train", "test")
LAYOUT = """FOLDER/
  train/NAME.npz   one utterance: features [frames, D] (numbers), labels [frames] (whole numbers from 0 on)
  test/NAME.npz"""


def load(folder: Path, part: str, steps: int = 400) -> Labelled:
    """Features ``[steps, B, D]`` (float32) and labels per frame ``[steps, B]``.

    Each feature is normalised to mean 0 and standard deviation 1 over the training part. Utterances are cut
    into pieces of ``steps`` frames; the last piece is padded with zeros, labelled `UNLABELLED`.

    Args:
        folder: folder with the layout `LAYOUT`.
        part: ``train`` or ``test``.
        steps: number of frames per piece.

    Raises:
        UserError: if files are missing, damaged, or of another layout.
    """
    utterances = _utterances(Path(folder), part)
    fitted = utterances if part == "train" else _utterances(Path(folder), "train")
    seen = np.concatenate([features for features, _ in fitted])
    mean, deviation = seen.mean(0), seen.std(0) + 1e-6
    pieces, labels = [], []
    for features, classes in utterances:
        if features.shape[1] != len(mean):
            raise UserError(
                f"an utterance of {folder}/{part} has {features.shape[1]} features, not {len(mean)}"
            )
        for start in range(0, len(features), steps):
            missing = max(start + steps - len(features), 0)
            piece = (features[start : start + steps] - mean) / deviation
            pieces.append(np.pad(piece, ((0, missing), (0, 0))))
            labels.append(np.pad(classes[start : start + steps], (0, missing), constant_values=UNLABELLED))
    sequence = np.stack(pieces, 1).astype(np.float32)
    return Labelled(torch.from_numpy(sequence), torch.from_numpy(np.stack(labels, 1)))


def _utterances(folder: Path, part: str) -> list[tuple[np.ndarray, np.ndarray]]:
    paths = sorted((folder / part).glob("*.npz"))
    if not paths:
        raise UserError(f"there is no .npz file in {folder / part}; the expected layout is\n{LAYOUT}")
    return [_utterance(path) for path in paths]


def _utterance(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path) as file:  # does not load pickled arrays
            features, labels = file["features"], file["labels"]
    except (OSError, KeyError, ValueError, BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}); the expected layout is\n{LAYOUT}") from None
    if (
        features.ndim != 2
        or labels.shape != features.shape[:1]
        or not np.issubdtype(labels.dtype, np.integer)
    ):
        raise UserError(
            f"{path} has features {features.shape} and labels {labels.shape} of {labels.dtype},"
            " not [frames, D] and [frames] of integers"
        )
    if not np.isfinite(features).all() or (len(labels) and labels.min() < 0):
        raise UserError(f"{path} has features that are not finite, or labels below 0")
    return features.astype(np.float32), labels.astype(np.int64)
