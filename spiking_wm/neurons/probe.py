"""What neurons fire while somebody listens, as an electrode hears it; nothing is kept otherwise."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
from torch import Tensor

_heard: ContextVar[list[np.ndarray] | None] = ContextVar("heard", default=None)  # each thread has its own


@contextmanager
def listen() -> Iterator[list[np.ndarray]]:
    """Within it, spike trains ``[T, N]`` (0 or 1, uint8) of all that fires here go into a list, in order."""
    trains: list[np.ndarray] = []
    token = _heard.set(trains)
    try:
        yield trains
    finally:
        _heard.reset(token)


def heard() -> bool:
    """Whether anybody listens."""
    return _heard.get() is not None


def fired(spikes: Tensor | np.ndarray) -> None:
    """Neurons have fired: ``[T, B, ...]``, of which the first row is heard."""
    trains = _heard.get()
    if trains is not None:
        array = spikes.detach().cpu().numpy() if isinstance(spikes, Tensor) else spikes
        trains.append(array[:, 0].reshape(len(array), -1).astype(np.uint8))
