"""Where weights can lie that chips hold in a few bits; networks may learn on that grid from the start."""

import math

MANTISSAS = 256  # of Loihi 2's weights lie below, whatever the bits


def step(bits: int) -> int:
    """Distance of neighbouring mantissas; the sign takes a bit."""
    return 2 ** (9 - bits)


def finest_unit(largest: float, bits: int) -> float:
    """What a mantissa of 1 stands for where the largest weight has the largest mantissa.

    Args:
        largest: size of a layer's largest weight or bias.
        bits: of a mantissa.
    """
    return (largest or 1.0) / (MANTISSAS - step(bits))


def binary_unit(largest: float, bits: int) -> float:
    """The same where networks learn on the grid: the least power of 2 that will do.

    So currents are sums without rounding, in float32 as on the chip, and a potential is at the threshold in
    both or in neither. Weights on the grid have the same unit again.
    """
    return 2.0 ** math.ceil(math.log2(finest_unit(largest, bits)))
