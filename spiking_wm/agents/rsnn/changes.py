"""How a predicted change of the world is read out of the model's spikes.

Arrays hold a row for each course of events: outputs ``[B, D width]`` of the read-outs, changes ``[B, D]``.
"""

import numpy as np

from spiking_wm.neurons import recurrent_kernels as kernels
from spiking_wm.neurons.recurrent import Array

_NEAR = 2  # places that are told apart by their mean


class Mean:
    """Outputs are the expected changes (paper, eq. 4)."""

    width = 1

    @staticmethod
    def change(outputs: Array) -> Array:
        """The expected changes."""
        return outputs

    @staticmethod
    def direction(change: Array, outputs: Array) -> Array:
        """Gradient by the outputs of the log-probability of changes, with a normal distribution."""
        return change - outputs


class Places:
    """Each change is one of many places on its axis, with probability ``softmax(outputs)``.

    A ball either bounces or flies on; what it does on average, which `Mean` tells, it never does. Changes
    beyond the last place are taken for that one, which is itself told a little too small.

    Args:
        count: places on an axis, at equal distances.
        reach: the last one; the first is at ``-reach``.
    """

    def __init__(self, count: int, reach: float):
        self.width, self._places = count, np.linspace(-reach, reach, count, dtype=np.float32)

    def change(self, outputs: Array) -> Array:
        """The most probable changes: the mean over a place and its neighbours."""
        by_place = np.ascontiguousarray(self._by_place(outputs), np.float32)
        change = np.empty(by_place.shape[:2], np.float32)
        kernels.most_probable(by_place, self._places, _NEAR, change)
        return change

    def direction(self, change: Array, outputs: Array) -> Array:
        """Gradient by the outputs of the log-probability of changes, each on a Gaussian curve of places."""
        outputs = self._by_place(outputs)
        expected = np.exp(outputs - outputs.max(-1, keepdims=True))
        expected /= expected.sum(-1, keepdims=True)
        apart = self._places[1] - self._places[0]
        middle = change.clip(self._places[0], self._places[-1])[..., None]
        actual = np.exp(-0.5 * np.square((self._places - middle) / apart))
        return (actual / actual.sum(-1, keepdims=True) - expected).reshape(len(change), -1)

    def _by_place(self, outputs: Array) -> Array:
        return outputs.reshape(len(outputs), -1, self.width)
