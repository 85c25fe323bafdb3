"""Groups of dreams with a common start, whose errors are compared with each other.

Of ``R B`` rows, every ``group_size`` consecutive ones are a group.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spiking_wm.neurons.recurrent import Array


def stratified_noise(
    generators: Sequence[np.random.Generator], steps: int, width: int, group_size: int = 1
) -> NDArray[np.float64]:
    """Uniform random numbers ``[steps, R B, width]``, each row from its own generator.

    At each step, the rows of a group draw from different ones of ``group_size`` equal parts of 0 to 1 (Latin
    hypercube sampling, McKay et al. 1979), so each kind of action comes about as often as it is probable.
    """
    drawn = np.stack([g.random((2, steps, width)) for g in generators], 2)
    order, place = drawn.reshape(2, steps, -1, group_size, width)
    part = order.argsort(2).argsort(2)
    return ((part + place) / group_size).reshape(steps, -1, width)


def group_relative(error: Array, alive: Array, group_size: int) -> Array:
    """Errors ``[R B]`` less the mean error of the other rows of the group (leave-one-out baseline).

    Rows that are not ``alive`` (0 instead of 1) are left out, and get 0. An error in the value of the
    common start is in all errors of a group, so it cancels.
    """
    error, alive = ((x.reshape(-1, group_size)) for x in (error * alive, alive))
    others = np.maximum(alive.sum(1, keepdims=True) - 1, 1)
    mean = (error.sum(1, keepdims=True) - error) / others
    return ((error - mean) * alive).reshape(-1)
