"""Description of a feed-forward chain of spiking layers for chips, in NumPy arrays.

In each tick, every layer computes the current ``u = d_u u + W s + b``, where ``s`` are the spikes of the
previous layer in the same tick, and the potential ``v = d_v v + u``. A neuron spikes if ``v > threshold``. A
spike sets ``v`` to 0, or subtracts ``reset`` from it.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix


class Layer(NamedTuple):
    """A layer of neurons and their input synapses.

    ``weights`` have the shape ``[N, inputs]``. With a ``stride`` they are convolution kernels
    ``[O, I, height, width]`` for an input of ``shape`` (height, width, channels); the neurons are in
    row-major order, channels last. With ``weights=None`` the inputs are currents, one per neuron.
    ``recurrent [N, N]`` are weights between neurons of the layer, with a delay of one tick.
    """

    weights: np.ndarray | None
    bias: np.ndarray  # [N], or [O]
    current_decay: float
    membrane_decay: float
    threshold: float
    stride: int = 0
    shape: tuple[int, ...] = ()
    recurrent: np.ndarray | None = None
    start: float = 0.0  # potential at rest
    reset: float = 0.0  # subtracted from the potential by a spike; 0: a spike sets the potential to 0

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of the output of a convolution."""
        (height, width), (tall, wide) = self.shape[:2], self.synapses.shape[2:]
        return (height - tall) // self.stride + 1, (width - wide) // self.stride + 1

    @property
    def synapses(self) -> np.ndarray:
        """The weights, ``[N, inputs]`` or kernels.

        Raises:
            ValueError: if the layer has currents as inputs, and so no weights.
        """
        if self.weights is None:
            raise ValueError("this layer has currents as inputs and no weights")
        return self.weights

    @property
    def neurons(self) -> int:
        """Number of neurons ``N``."""
        return len(self.bias) * (int(np.prod(self.side)) if self.stride else 1)

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        if self.weights is None:
            return self.neurons
        return int(np.prod(self.shape)) if self.stride else self.synapses.shape[1]

    def matrix(self) -> "np.ndarray | csr_matrix":
        """Weights ``[N, inputs]``; a sparse matrix for a convolution."""
        return _unfolded(self) if self.stride else self.synapses

    def biases(self) -> np.ndarray:
        """Bias of every neuron, ``[N]``."""
        return np.tile(self.bias, self.neurons // len(self.bias))


class ChipNetwork(NamedTuple):
    """A chain of layers, run for ``ticks`` ticks per decision.

    Neurons start each decision at rest or, if ``carried``, from their state after the previous decision.
    Inputs are spikes. With a ``reach`` they are real numbers up to that size, constant over the ticks.
    """

    layers: tuple[Layer, ...]
    ticks: int
    carried: bool = False
    reach: float = 0.0


def _unfolded(layer: Layer) -> csr_matrix:
    (height, width, channels), (rows, columns) = layer.shape, layer.side
    outputs, _, tall, wide = layer.synapses.shape
    y, x, o, c, i, j = np.indices((rows, columns, outputs, channels, tall, wide), sparse=True)
    to = (y * columns + x) * outputs + o
    source = ((y * layer.stride + i) * width + x * layer.stride + j) * channels + c
    weight = layer.synapses[o, c, i, j]
    to, source, weight = (a.ravel() for a in np.broadcast_arrays(to, source, weight))
    return csr_matrix((weight, (to, source)), (rows * columns * outputs, height * width * channels))
