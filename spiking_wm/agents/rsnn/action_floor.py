"""A lower bound on the mean probability of actions, so that none is never tried again."""

import numpy as np

from spiking_wm.agents.rsnn.heads import Softmax
from spiking_wm.neurons.recurrent import Array

_FORGET = np.float32(0.005)  # per step


class ActionFloor:
    """Running mean of every action's probability, for each of ``R`` realisations, kept above a floor.

    The gradient of the entropy cannot bring back an action that is improbable in every state: it is
    proportional to the probability. The gradient of the log-probability can. It is used for actions whose
    running mean is below the floor, until they are above it; how improbable they are in one state does
    not matter.

    Args:
        head: the distribution of actions.
        realisations: ``R``.
        min_use: the floor, as a share of the uniform probability.
    """

    def __init__(self, head: Softmax, realisations: int, min_use: float):
        self._head, self._floor = head, np.float32(min_use / head.outputs)
        self.mean = np.full((realisations, head.outputs), 1 / head.outputs, np.float32)

    def gradient(self, outputs: Array, sharpening: float = 1.0) -> Array:
        """Update the running means from the policies' outputs ``[R, K]``; returns the gradient.

        The floor is divided by ``sharpening``, the growth of the inverse temperature.
        """
        probabilities = self._head.probabilities(outputs)
        self.mean += _FORGET * (probabilities - self.mean)
        rare = (self.mean < self._floor / np.float32(sharpening)).astype(np.float32)
        return rare - rare.sum(1, keepdims=True) * probabilities
