"""What networks see of observations."""

import numpy as np
import torch
from gymnasium.spaces import Box

from spiking_wm_ros.agents.normaliser import Normaliser
from spiking_wm_ros.snn.recurrent import Array

_BOUNDED = 1e6  # bounds beyond are none


class Inputs:
    """Observations ``[R, D]`` as inputs: as they are, or centred.

    Centred, a bounded space is mapped to ``[-1, 1]``; values of others are normalised by the mean and
    the deviation that each realisation has seen.

    Args:
        space: of the observations, vectors.
        realisations: ``R``.
        centred: whether to centre them.
    """

    def __init__(self, space: Box, realisations: int, centred: bool):
        bounded = bool((np.abs(np.stack([space.low, space.high])) < _BOUNDED).all())
        self.low, self.high = space.low.astype(np.float32), space.high.astype(np.float32)
        self._middle, self._half_range = np.float32(0), np.float32(1)
        self.normaliser = None
        if centred and bounded:
            self._middle, self._half_range = (self.high + self.low) / 2, (self.high - self.low) / 2
            self.low, self.high = -np.ones_like(self.low), np.ones_like(self.high)
        elif centred:
            self.normaliser = Normaliser((realisations, *space.shape))
            self.low = np.full_like(self.low, -self.normaliser.clip)
            self.high = -self.low

    def update(self, observation: Array) -> None:
        """Take in the statistics of observations ``[R, D]``."""
        if self.normaliser:
            self.normaliser.update(torch.from_numpy(observation))

    def __call__(self, observation: Array) -> Array:
        """Inputs ``[R, D]``."""
        if self.normaliser:
            return self.normaliser(torch.from_numpy(observation)).numpy()
        return (observation - self._middle) / self._half_range
