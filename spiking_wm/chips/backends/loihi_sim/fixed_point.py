"""Conversion of networks to fixed point, as on Loihi 2.

Each layer has one scale ``S``: currents, thresholds and biases are integer multiples of ``1 / S``. Weights
are mantissas of a few bits times a power of two shared by the layer. ``S`` follows from the largest weight
(`chips.grid`) and the exponent. The exponent is the largest for which no sum of currents can overflow.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix, issparse

from spiking_wm.chips.backends.loihi_sim.options import Options
from spiking_wm.chips.grid import MANTISSAS, binary_unit, finest_unit, step
from spiking_wm.chips.network import ChipNetwork, Layer
from spiking_wm.core.errors import UserError

_CURRENT = 2**17  # bound of currents and potentials before alignment
_ALIGNED = 64  # alignment: the chip multiplies currents and thresholds by it
MOST_BIAS = _BIAS, _BIAS_EXPONENT = 4095, 7  # largest mantissa and exponent
_HIGHEST = (_BIAS << _BIAS_EXPONENT) // _ALIGNED - 1  # threshold; the largest bias exceeds it
_ROOM = 16  # range of potentials, in multiples of the rest potential and of the reset


class FixedLayer(NamedTuple):
    """A layer in integers."""

    weights: "np.ndarray | csr_matrix | None"  # mantissas
    recurrent: np.ndarray | None  # mantissas
    exponent: int
    threshold: int
    bias: np.ndarray  # mantissas, [N]
    bias_exponent: int
    current_decay: int  # in 4096ths, as membrane_decay
    membrane_decay: int
    start: int
    reset: int
    scale: float
    error: float  # relative error of the weights (L2 norm)


def fixed(network: ChipNetwork, options: Options) -> list[FixedLayer]:
    """Convert all layers to fixed point."""
    layers = []
    for k, layer in enumerate(network.layers):
        graded = bool(network.reach) and k == 0
        most = 2**options.message_bits - 1 if graded else 1  # largest value of an input
        layers.append(_fixed(layer, message_unit(network, options) if graded else 1.0, options, most))
    return layers


def message_unit(network: ChipNetwork, options: Options) -> float:
    """Value of an integer message of 1 to the first layer."""
    return network.reach / (2**options.message_bits - 1) if network.reach else 1.0


def with_bias(layer: Layer) -> "np.ndarray | csr_matrix":
    """Weights ``[N, inputs]``, with the biases as one more column if `bias_by_neuron`."""
    return np.column_stack([layer.matrix(), layer.biases()]) if bias_by_neuron(layer) else layer.matrix()


def bias_by_neuron(layer: Layer) -> bool:
    """True if biases are weights of a neuron that always fires, because they are filtered like currents."""
    return layer.weights is not None and layer.current_decay > 0 and bool(layer.bias.any())


def _fixed(layer: Layer, message: float, options: Options, most: int) -> FixedLayer:
    parts = [] if layer.weights is None else [with_bias(layer) * message]
    if layer.recurrent is not None:
        parts.append(layer.recurrent)
    values = np.concatenate([part.data if issparse(part) else part.ravel() for part in parts])
    bits, bias = options.weight_bits, np.zeros(layer.neurons) if bias_by_neuron(layer) else layer.biases()
    scale = 1 / _unit(values, bits)
    reach = sum(_largest_sum(part) * (most if part is parts[0] else 1) for part in parts)
    reach = reach / (1 - layer.current_decay) + abs(bias).max()
    reach = max(reach, _ROOM * abs(layer.start), _ROOM * layer.reset)
    exponent = int(np.floor(np.log2((_CURRENT - 1) / (scale * max(reach, 1e-30)))))
    highest = min(2**options.threshold_bits - 1, _HIGHEST)
    if layer.threshold > 0:
        exponent = min(exponent, int(np.floor(np.log2(highest / (scale * layer.threshold)))))
    exponent = int(np.clip(exponent, -16, 7))
    whole = scale * 2.0**exponent
    if layer.threshold > 0 and whole * layer.threshold < 1:
        raise UserError(
            "weights are too large relative to the threshold for fixed point: set precision:=floating_pt"
        )
    mantissas = [_mantissas(part, scale, bits) for part in parts]
    bias, bias_exponent = _bias(bias * whole * _ALIGNED)
    left = np.concatenate([m.data if issparse(m) else m.ravel() for m in mantissas]) / scale - values
    return FixedLayer(
        mantissas[0] if layer.weights is not None else None,
        mantissas[-1] if layer.recurrent is not None else None,
        exponent,
        round(layer.threshold * whole),
        bias,
        bias_exponent,
        _decay(layer.current_decay, options) - 1,  # the chip adds 1 to this one
        _decay(layer.membrane_decay, options),
        round(layer.start * whole * _ALIGNED),
        round(layer.reset * whole * _ALIGNED),
        whole,
        float(np.linalg.norm(left)) / max(float(np.linalg.norm(values)), 1e-30),
    )


def _unit(values: np.ndarray, bits: int) -> float:
    largest = float(np.abs(values).max())
    binary = binary_unit(largest, bits)
    learned_on_grid = (np.remainder(values / binary, step(bits)) == 0).all()
    return binary if learned_on_grid else finest_unit(largest, bits)


def _largest_sum(part: "np.ndarray | csr_matrix") -> float:
    """Largest absolute input current of a neuron, over all spike patterns."""
    positive = abs(part)
    total, signed = (np.asarray(matrix.sum(1)).ravel() for matrix in (positive, part))
    return float(((total + np.abs(signed)) / 2).max())


def _mantissas(part: "np.ndarray | csr_matrix", scale: float, bits: int) -> "np.ndarray | csr_matrix":
    if isinstance(part, csr_matrix):
        return csr_matrix((_mantissas(part.data, scale, bits), part.indices, part.indptr), part.shape)
    most = MANTISSAS - step(bits)
    return (np.round(part * scale / step(bits)) * step(bits)).clip(-most, most).astype(np.int32)


def _bias(values: np.ndarray) -> tuple[np.ndarray, int]:
    needed = np.log2(max(np.abs(values).max() / _BIAS, 1))
    exponent = int(min(np.ceil(needed), _BIAS_EXPONENT))
    return np.round(values / 2**exponent).clip(-_BIAS, _BIAS).astype(np.int32), exponent


def _decay(kept: float, options: Options) -> int:
    """``1 - kept`` in 4096ths, rounded to ``decay_bits``."""
    step = 2 ** (12 - options.decay_bits)
    return int(np.clip(round((1 - kept) * 4096 / step) * step, 0, 4096))
