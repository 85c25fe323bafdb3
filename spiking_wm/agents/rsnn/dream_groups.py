"""Dreams that begin at the same moment, and so tell what their choices were worth by comparison.

Rows of peers are one after the other: ``R B`` of them, in groups of ``peers``.
"""

from collections.abc import Sequence

import numpy as np

from spiking_wm.neurons.recurrent import Array


def chances(generators: Sequence[np.random.Generator], steps: int, width: int, peers: int = 1) -> Array:
    """Uniform random numbers ``[steps, R B, width]``, each row from its own generator.

    Those of peers at a step are one in each of ``peers`` equal parts of 0 to 1 (Latin hypercube sampling,
    McKay et al. 1979), so that every kind of choice is made about as often as it is probable.
    """
    drawn = np.stack([g.random((2, steps, width)) for g in generators], 2)
    order, place = drawn.reshape(2, steps, -1, peers, width)
    part = order.argsort(2).argsort(2)
    return ((part + place) / peers).reshape(steps, -1, width)


def less_peers(error: Array, alive: Array, peers: int) -> Array:
    """Errors ``[R B]`` of those that are alive, less the mean of other peers' that are; 0 where one is not.

    What the value of their common beginning was wrong by is in all of their errors, and then in none.
    """
    error, alive = ((x.reshape(-1, peers)) for x in (error * alive, alive))
    others = np.maximum(alive.sum(1, keepdims=True) - 1, 1)
    mean = (error.sum(1, keepdims=True) - error) / others
    return ((error - mean) * alive).reshape(-1)
