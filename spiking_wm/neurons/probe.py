"""Record the spikes of all neurons that run inside a context; almost free of cost outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from torch import Tensor

_heard: ContextVar[list[np.ndarray] | None] = ContextVar("heard", default=None)  # separate for each thread


@contextmanager
def listen() -> Iterator[list[np.ndarray]]:
    """Context that records spikes of this thread; yields a list to which every layer appends its train.

    A train is ``[T, N]`` (0 or 1, uint8), from the first row of the batch.
    """
    trains: list[np.ndarray] = []
    token = _heard.set(trains)
    try:
        yield trains
    finally:
        _heard.reset(token)


def heard() -> bool:
    """True inside `listen`, in this thread."""
    return _heard.get() is not None


def fired(spikes: Tensor | np.ndarray) -> None:
    """Report spikes ``[T, B, ...]``; called by every layer."""
    trains = _heard.get()
    if trains is not None:
        array = spikes.detach().cpu().numpy() if isinstance(spikes, Tensor) else spikes
        trains.append(array[:, 0].reshape(len(array), -1).astype(np.uint8))
