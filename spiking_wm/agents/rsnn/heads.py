"""Distributions of actions, with parameters read out from the agent's spikes.

Arrays have one row per trajectory: outputs of the read-out ``y [R, K]``, actions ``[R]`` or ``[R, A]``.
Actions are drawn from uniform random numbers in 0 to 1, ``noise_width`` of them per action.
"""

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

from spiking_wm.core.actions import Actions
from spiking_wm.core.spaces import Spaces

Array = NDArray[np.float32]

_AT_BOUND = 1e-6  # half ranges within which an action is at a bound
_HALF_LOG_2_PI = 0.5 * np.log(2 * np.pi)


def _hazard(z: Array) -> Array:
    """Hazard rate of the standard normal distribution: density at ``z`` over the mass beyond."""
    return np.exp(-np.square(z) / 2 - _HALF_LOG_2_PI - log_ndtr(-z))


class Softmax:
    """One of ``n`` actions, with probability ``softmax(y)`` (paper, eq. 6).

    Args:
        space: of the actions.
    """

    noise_width = 1

    def __init__(self, space: Discrete):
        self._first, self.outputs, self.codes = int(space.start), int(space.n), int(space.n)

    @staticmethod
    def probabilities(y: Array) -> Array:
        """Probabilities ``[R, K]``."""
        weight = np.exp(y - y.max(1, keepdims=True))
        return weight / weight.sum(1, keepdims=True)

    def draw(self, y: Array, noise: NDArray[np.float64]) -> NDArray[Any]:
        """Draw one action per row from ``noise [R, 1]``."""
        reached = self.probabilities(y).cumsum(1)
        return self._first + (reached[:, :-1] <= noise).sum(1)

    def greedy(self, y: Array) -> NDArray[Any]:
        """The most probable actions."""
        return self._first + y.argmax(1)

    def score(self, y: Array, actions: NDArray[Any]) -> Array:
        """Gradient of the log-probability of actions by ``y``."""
        return self.code(actions) - self.probabilities(y)

    def entropy_gradient(self, y: Array) -> Array:
        """Gradient of the policy's entropy by ``y``."""
        p = self.probabilities(y)
        information = np.log(p + np.float32(1e-8))
        return -p * (information - (p * information).sum(1, keepdims=True))

    def code(self, actions: NDArray[Any]) -> Array:
        """One-hot ``[R, n]``."""
        return np.eye(self.outputs, dtype=np.float32)[actions.astype(int) - self._first]


class Gaussian:
    """Normal distributions around ``y``, in half ranges from the middle of a box, clipped to the box.

    Args:
        actions: the scaling of the action space.
        deviation: standard deviation, in half ranges.
    """

    def __init__(self, actions: Actions, deviation: float):
        self._actions, self._deviation = actions, np.float32(deviation)
        self.outputs = self.codes = self.noise_width = actions.width

    def draw(self, y: Array, noise: NDArray[np.float64]) -> NDArray[Any]:
        """Draw one action per row from ``noise [R, A]``."""
        return self.greedy(y + self._deviation * ndtri(noise).astype(np.float32))

    def greedy(self, y: Array) -> NDArray[Any]:
        """The means, clipped to the box."""
        return self._actions.action(y)

    def score(self, y: Array, actions: NDArray[Any]) -> Array:
        """Gradient of the log-probability of actions by ``y``; at a bound, of the probability beyond it.

        Draws beyond a bound are clipped to it, so their distance to the bound does not matter.
        """
        code, sigma = self.code(actions), self._deviation
        side, within = np.sign(code), (code - y) / sigma**2
        beyond = side * _hazard((1 - side * y) / sigma) / sigma
        return np.where(np.abs(code) < 1 - _AT_BOUND, within, beyond).astype(np.float32)

    def entropy_gradient(self, y: Array) -> Array:
        """Gradient of the policy's entropy by ``y``: 0, since the deviation is fixed."""
        return np.zeros_like(y)

    def code(self, actions: NDArray[Any]) -> Array:
        """Half ranges from the middle ``[R, A]``."""
        return self._actions.code(actions)


def head_of(spaces: Spaces, deviation: float) -> Softmax | Gaussian:
    """The head for an action space.

    Raises:
        UserError: if the space is not supported.
    """
    if isinstance(spaces.action, Discrete):
        return Softmax(spaces.action)
    return Gaussian(Actions(spaces, "rsnn"), deviation)
