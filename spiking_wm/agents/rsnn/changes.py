"""Predicted changes of the observation, read out from the model's spikes.

Arrays have one row per trajectory: outputs of the read-outs ``[B, D width]``, changes ``[B, D]``.
"""

import numpy as np

from spiking_wm.neurons import recurrent_kernels as kernels
from spiking_wm.neurons.recurrent import Array

_NEAR = 2  # bins on each side of the best one that count for the prediction


class MeanChange:
    """Outputs are the expected changes, with a normal distribution around them (paper, eq. 4)."""

    width = 1

    @staticmethod
    def change(outputs: Array) -> Array:
        """The expected changes."""
        return outputs

    @staticmethod
    def score(change: Array, outputs: Array) -> Array:
        """Gradient of the log-probability of changes by the outputs."""
        return change - outputs


class BinnedChange:
    """Categorical prediction: each change is in one of many bins, with probability ``softmax(outputs)``.

    Useful if a change has two possible outcomes (a ball bounces or not): the mean, which `MeanChange`
    predicts, never occurs. Changes beyond the outermost bins are assigned to them.

    Args:
        count: bins of a variable, with centres at equal distances.
        reach: centre of the last bin; the first one is at ``-reach``.
    """

    def __init__(self, count: int, reach: float):
        self.width, self._centres = count, np.linspace(-reach, reach, count, dtype=np.float32)

    def change(self, outputs: Array) -> Array:
        """The most probable changes: the mean over the best bin and its neighbours."""
        by_bin = np.ascontiguousarray(self._by_bin(outputs), np.float32)
        change = np.empty(by_bin.shape[:2], np.float32)
        kernels.most_probable(by_bin, self._centres, _NEAR, change)
        return change

    def score(self, change: Array, outputs: Array) -> Array:
        """Gradient of the log-probability of changes by the outputs; targets are Gaussians over bins."""
        outputs = self._by_bin(outputs)
        expected = np.exp(outputs - outputs.max(-1, keepdims=True))
        expected /= expected.sum(-1, keepdims=True)
        apart = self._centres[1] - self._centres[0]
        middle = change.clip(self._centres[0], self._centres[-1])[..., None]
        actual = np.exp(-0.5 * np.square((self._centres - middle) / apart))
        return (actual / actual.sum(-1, keepdims=True) - expected).reshape(len(change), -1)

    def _by_bin(self, outputs: Array) -> Array:
        return outputs.reshape(len(outputs), -1, self.width)
