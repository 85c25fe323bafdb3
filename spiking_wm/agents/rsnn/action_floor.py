"""Whether every action is still taken now and then: one that never is, is never learned of again."""

import numpy as np

from spiking_wm.agents.rsnn.heads import Softmax
from spiking_wm.neurons.recurrent import Array

_FORGET = np.float32(0.005)  # per step


class Uses:
    """Running mean of every action's probability, for each of ``R`` realisations.

    The entropy's gradient does not bring back an action that is improbable in every state: it is a
    multiple of the probability. An action that is hardly taken at all is held up by the gradient of its
    log-probability, until it is taken again; how rarely it is in any one state does not matter.

    Args:
        head: the distribution of actions.
        realisations: ``R``.
        least: mean probability below which an action is held up, in multiples of that of equal use.
    """

    def __init__(self, head: Softmax, realisations: int, least: float):
        self._head, self._least = head, np.float32(least / head.outputs)
        self.mean = np.full((realisations, head.outputs), 1 / head.outputs, np.float32)

    def hold_up(self, outputs: Array, sharpness: float = 1.0) -> Array:
        """Take in what policies read out ``[R, K]``; the gradient by it that holds up rare actions.

        The sharper choices are to be, the rarer an action may be.
        """
        probabilities = self._head.probabilities(outputs)
        self.mean += _FORGET * (probabilities - self.mean)
        rare = (self.mean < self._least / np.float32(sharpness)).astype(np.float32)
        return rare - rare.sum(1, keepdims=True) * probabilities
