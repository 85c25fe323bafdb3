"""Conversion of observations to network inputs."""

import numpy as np
import torch
from gymnasium.spaces import Box
from numpy.typing import NDArray

from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.neurons.recurrent import Array

_BOUNDED = 1e6  # larger bounds count as none


class Inputs:
    """Converts observations ``[R, D]`` to inputs, with or without scaling.

    Scaling maps a bounded space to ``[-1, 1]``. In other spaces it maps the mean +- two standard deviations
    to ``[-1, 1]``, with the statistics of each realisation at the last `refresh`.

    Args:
        space: observation space (vectors).
        realisations: ``R``.
        scaled: True to scale observations.
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
        """Add observations ``[R, D]`` to the statistics for the next `refresh`."""
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
        """Convert inputs ``[R, D]`` back to observations."""
        return inputs * self.scale + self.middle

    def state(self) -> dict[str, Array]:
        """The arrays of its state (not copies), except those of `statistics`."""
        return {"middle": self.middle, "scale": self.scale}
