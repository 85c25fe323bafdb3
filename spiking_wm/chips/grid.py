"""The grid of weights that a chip holds in a few bits; networks can be trained on it (quantisation)."""

import math

MANTISSAS = 256  # Loihi 2: mantissas of weights are less than this, with any number of bits


def step(bits: int) -> int:
    """Distance of neighbouring mantissas with so many bits, one of them the sign."""
    return 2 ** (9 - bits)


def finest_unit(largest: float, bits: int) -> float:
    """Value of a mantissa of 1 if the largest weight gets the largest mantissa.

    Args:
        largest: largest absolute weight or bias of a layer.
        bits: bits of a mantissa, sign included.
    """
    return (largest or 1.0) / (MANTISSAS - step(bits))


def binary_unit(largest: float, bits: int) -> float:
    """`finest_unit`, rounded up to a power of 2; used for networks that are trained on the grid.

    Sums of such weights are exact in float32 and on the chip, so a potential reaches the threshold on both or
    on neither. Weights on the grid give the same unit again.
    """
    return 2.0 ** math.ceil(math.log2(finest_unit(largest, bits)))
