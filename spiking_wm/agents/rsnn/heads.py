"""What is read out of the agent's spikes becomes a distribution of actions.

Arrays hold one row per realisation: read-outs ``y [R, K]``, actions ``[R]`` or ``[R, A]``. Actions are drawn
by uniform random numbers of 0 to 1, ``chances`` of them for each.
"""

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from spiking_wm.core.errors import UserError

Array = NDArray[np.float32]

_AT_BOUND = 1e-6  # half ranges within which an action is at a bound
_HALF_LOG_2_PI = 0.5 * np.log(2 * np.pi)


def _hazard(z: Array) -> Array:
    """How fast the logarithm of a normal distribution's mass beyond ``z`` falls."""
    return np.exp(-np.square(z) / 2 - _HALF_LOG_2_PI - log_ndtr(-z))


class Softmax:
    """One of ``n`` actions, with probability ``softmax(y)`` (paper, eq. 6)."""

    sharpens, chances = True, 1  # as y grows

    def __init__(self, space: Discrete):
        self._first, self.outputs, self.codes = int(space.start), int(space.n), int(space.n)

    @staticmethod
    def probabilities(y: Array) -> Array:
        """Probabilities ``[R, K]``."""
        weight = np.exp(y - y.max(1, keepdims=True))
        return weight / weight.sum(1, keepdims=True)

    def draw(self, y: Array, chances: NDArray[np.float64]) -> NDArray[np.int64]:
        """One action per row, by ``chances [R, 1]``."""
        reached = self.probabilities(y).cumsum(1)
        return self._first + (reached[:, :-1] <= chances).sum(1)

    def greedy(self, y: Array) -> NDArray[np.int64]:
        """The most probable actions."""
        return self._first + y.argmax(1)

    def direction(self, y: Array, actions: NDArray) -> Array:
        """Gradient of the log-probability of actions by ``y``."""
        return self.code(actions) - self.probabilities(y)

    def spread(self, y: Array) -> Array:
        """Gradient of the policy's entropy by ``y``."""
        p = self.probabilities(y)
        information = np.log(p + np.float32(1e-8))
        return -p * (information - (p * information).sum(1, keepdims=True))

    def code(self, actions: NDArray) -> Array:
        """One-hot ``[R, n]``."""
        return np.eye(self.outputs, dtype=np.float32)[actions.astype(int) - self._first]


class Gaussian:
    """Actions around ``y``, in half ranges from the middle of a bounded box."""

    sharpens = False

    def __init__(self, space: Box, deviation: float):
        if len(space.shape) != 1 or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise UserError(f"rsnn takes Discrete actions or a bounded vector of them, not {space}")
        self._low, self._high, self._deviation = space.low, space.high, np.float32(deviation)
        self._middle, self._half_range = (space.high + space.low) / 2, (space.high - space.low) / 2
        self.outputs = self.codes = self.chances = len(space.low)

    def draw(self, y: Array, chances: NDArray[np.float64]) -> Array:
        """One action per row, by ``chances [R, A]``."""
        return self.greedy(y + self._deviation * ndtri(chances).astype(np.float32))

    def greedy(self, y: Array) -> Array:
        """The middle of the distributions, within the box."""
        return (self._middle + self._half_range * y).clip(self._low, self._high).astype(np.float32)

    def direction(self, y: Array, actions: Array) -> Array:
        """Gradient of the log-probability of actions by ``y``; of one at a bound, of all that is beyond it.

        A bound is done for whatever is drawn there, so far beyond it ``y`` no longer matters.
        """
        code, sigma = self.code(actions), self._deviation
        side, within = np.sign(code), (code - y) / sigma**2
        beyond = side * _hazard((1 - side * y) / sigma) / sigma
        return np.where(np.abs(code) < 1 - _AT_BOUND, within, beyond).astype(np.float32)

    def spread(self, y: Array) -> Array:
        """Gradient of the policy's entropy by ``y``: none, the deviation is given."""
        return np.zeros_like(y)

    def code(self, actions: Array) -> Array:
        """Half ranges from the middle ``[R, A]``."""
        return ((actions - self._middle) / self._half_range).astype(np.float32)


def head_of(space, deviation: float) -> Softmax | Gaussian:
    """The head that serves an action space; raises `UserError` if none does."""
    return Softmax(space) if isinstance(space, Discrete) else Gaussian(space, deviation)
