"""Spiking networks as chips take them: layer by layer, in numbers that NumPy holds.

Per tick of every layer: ``u = d_u u + W s + b``, where ``s`` is what the layer before sends in that tick;
``v = d_v v + u``; a spike where ``v > threshold``, which puts ``v`` to 0, or takes ``reset`` from it.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix


class Layer(NamedTuple):
    """Neurons, and the synapses into them.

    ``weights`` are ``[N, inputs]``; with a ``stride`` kernels ``[O, I, height, width]`` of a convolution over
    ``shape`` (height, width, channels), whose neurons come row by row, channels last. Without weights
    currents come from outside. ``recurrent [N, N]`` are synapses among its own neurons, of the tick before.
    """

    weights: np.ndarray | None
    bias: np.ndarray  # [N], or [O]
    current_decay: float
    membrane_decay: float
    threshold: float
    stride: int = 0
    shape: tuple[int, ...] = ()
    recurrent: np.ndarray | None = None
    start: float = 0.0  # potential to begin with
    reset: float = 0.0  # 0: a spike puts the potential to 0

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of what a convolution gives."""
        sizes = zip(self.shape[:2], self.weights.shape[2:])
        return tuple((size - kernel) // self.stride + 1 for size, kernel in sizes)

    @property
    def neurons(self) -> int:
        """How many."""
        return len(self.bias) * (int(np.prod(self.side)) if self.stride else 1)

    @property
    def inputs(self) -> int:
        """Width of what comes in."""
        if self.weights is None:
            return self.neurons
        return int(np.prod(self.shape)) if self.stride else self.weights.shape[1]

    def matrix(self) -> "np.ndarray | csr_matrix":
        """Weights ``[N, inputs]``; sparse of a convolution."""
        return _unfolded(self) if self.stride else self.weights

    def biases(self) -> np.ndarray:
        """Of every neuron, ``[N]``."""
        return np.tile(self.bias, self.neurons // len(self.bias))


class ChipNetwork(NamedTuple):
    """Layers one after the other.

    ``ticks`` are those of one decision. Neurons begin each decision at rest, or, where they are ``carried``,
    go on from the one before. Inputs are spikes, or with a ``reach`` numbers of that size at most, and do not
    change over the ticks.
    """

    layers: tuple[Layer, ...]
    ticks: int
    carried: bool = False
    reach: float = 0.0


def _unfolded(layer: Layer) -> csr_matrix:
    (height, width, channels), (rows, columns) = layer.shape, layer.side
    outputs, _, tall, wide = layer.weights.shape
    y, x, o, c, i, j = np.indices((rows, columns, outputs, channels, tall, wide), sparse=True)
    to = (y * columns + x) * outputs + o
    source = ((y * layer.stride + i) * width + x * layer.stride + j) * channels + c
    weight = layer.weights[o, c, i, j]
    to, source, weight = (a.ravel() for a in np.broadcast_arrays(to, source, weight))
    return csr_matrix((weight, (to, source)), (rows * columns * outputs, height * width * channels))
