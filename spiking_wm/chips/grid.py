"""Quantisation grid of weights with a few bits, as on a chip; networks can be trained on it."""

import math

MANTISSAS = 256  # Loihi 2: upper bound of weight mantissas, for any number of bits


def step(bits: int) -> int:
    """Distance of neighbouring mantissas for a number of bits (sign included)."""
    return 2 ** (9 - bits)


def finest_unit(largest: float, bits: int) -> float:
    """Weight for a mantissa of 1 if the largest weight has the largest mantissa.

    Args:
        largest: largest absolute weight or bias of a layer.
        bits: bits of a mantissa, sign included.
    """
    return (largest or 1.0) / (MANTISSAS - step(bits))


def binary_unit(largest: float, bits: int) -> float:
    """`finest_unit`, rounded up to a power of 2; used for networks that are trained on the grid.

    Sums of such weights are exact in float32 and on the chip, so both give the same spikes. Weights that are
    already on the grid give the same unit.
    """
    return 2.0 ** math.ceil(math.log2(finest_unit(largest, bits)))
