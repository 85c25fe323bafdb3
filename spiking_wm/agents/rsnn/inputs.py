"""What networks see of observations."""

import numpy as np
import torch
from gymnasium.spaces import Box

from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.neurons.recurrent import Array

_BOUNDED = 1e6  # bounds beyond are none


class Inputs:
    """Observations ``[R, D]`` as inputs: as they are, or centred.

    Centred, a bounded space is mapped to ``[-1, 1]``; values of others so that what lies within two standard
    deviations of the mean is, by what each realisation has seen up to the last `refresh`.

    Args:
        space: of the observations, vectors.
        realisations: ``R``.
        centred: whether to centre them.
    """

    def __init__(self, space: Box, realisations: int, centred: bool):
        shape, (low, high) = (realisations, *space.shape), np.stack([space.low, space.high])
        self.low, self.high = low.astype(np.float32), high.astype(np.float32)
        self.middle, self.scale = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        self.statistics = None
        if centred and bool((np.abs([low, high]) < _BOUNDED).all()):
            self.middle[:], self.scale[:] = (high + low) / 2, (high - low) / 2
            self.low, self.high = -np.ones_like(self.low), np.ones_like(self.high)
        elif centred:
            self.statistics = Normaliser(shape)
            self.high = np.full_like(self.high, self.statistics.clip / 2)
            self.low = -self.high

    def update(self, observation: Array) -> None:
        """Take in the statistics of observations ``[R, D]``, for the next `refresh`."""
        if self.statistics:
            self.statistics.update(torch.from_numpy(observation))

    def refresh(self) -> None:
        """Centre by all that was seen so far."""
        if self.statistics:
            self.middle[:], self.scale[:] = self.statistics.mean.numpy(), 2 * self.statistics.scale.numpy()

    def __call__(self, observation: Array) -> Array:
        """Inputs ``[R, D]``."""
        inputs = (observation - self.middle) / self.scale
        return inputs.clip(self.low, self.high) if self.statistics else inputs

    def observations(self, inputs: Array) -> Array:
        """The observations ``[R, D]`` that give such inputs."""
        return inputs * self.scale + self.middle

    def state(self) -> dict[str, Array]:
        """The arrays that it goes on from, themselves; `statistics` are apart."""
        return {"middle": self.middle, "scale": self.scale}
