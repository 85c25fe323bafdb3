"""Observations as networks see them."""

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.neurons.recurrent import Array

_BOUNDED = 1e6  # larger bounds count as none


class Inputs:
    """Observations ``[R, D]`` as inputs: as they are, or scaled.

    Scaled, a bounded space is mapped to ``[-1, 1]``. Of other spaces, two standard deviations around the mean
    are, by the statistics of each realisation at the last `refresh`.

    Args:
        space: of the observations, vectors.
        realisations: ``R``.
        scaled: whether to scale them.
    """

    def __init__(self, space: Box, realisations: int, scaled: bool):
        self.width = space.shape[0]
        shape, (low, high) = (realisations, self.width), np.stack([space.low, space.high])
        self.low, self.high = low.astype(np.float32), high.astype(np.float32)
        self.middle, self.scale = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        self.statistics: Normaliser | None = None
        if scaled and bool((np.abs([low, high]) < _BOUNDED).all()):
            self.middle[:], self.scale[:] = (high + low) / 2, (high - low) / 2
            self.low, self.high = -np.ones_like(self.low), np.ones_like(self.high)
        elif scaled:
            self.statistics = Normaliser(shape)
            self.high = np.full_like(self.high, self.statistics.clip / 2)
            self.low = -self.high

    def update(self, observation: Array) -> None:
        """Take in the statistics of observations ``[R, D]``, for the next `refresh`."""
        if self.statistics:
            self.statistics.update(torch.from_numpy(observation))

    def refresh(self) -> None:
        """Scale by the statistics of all observations so far."""
        if self.statistics:
            self.middle[:], self.scale[:] = self.statistics.mean.numpy(), 2 * self.statistics.scale.numpy()

    def __call__(self, observation: NDArray) -> Array:
        """Inputs ``[R, D]``."""
        inputs = (observation - self.middle) / self.scale
        return inputs.clip(self.low, self.high) if self.statistics else inputs

    def observations(self, inputs: Array) -> Array:
        """The observations ``[R, D]`` of such inputs."""
        return inputs * self.scale + self.middle

    def state(self) -> dict[str, Array]:
        """The arrays that it goes on from, not copied; those of `statistics` are kept apart."""
        return {"middle": self.middle, "scale": self.scale}
