"""Action codes: the vectors that networks use in place of environment actions."""

import numpy as np
from gymnasium.spaces import Discrete

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces


class Actions:
    """Scales a bounded vector of actions to [-1, 1], and discrete actions to one-hot vectors.

    Args:
        spaces: the environment's spaces.
        agent: name of the algorithm, for the error message.

    Raises:
        UserError: for an action space without bounds, or of more than one dimension.
    """

    width: int  # values per code, ``A``

    def __init__(self, spaces: Spaces, agent: str):
        space = spaces.action
        self.discrete = isinstance(space, Discrete)
        if isinstance(space, Discrete):
            self.width, self._first = int(space.n), int(space.start)
            return
        if len(space.shape) != 1 or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise UserError(f"{agent} takes Discrete actions or a bounded vector of them, not {space}")
        self.width = space.shape[0]
        self._low, self._high = space.low, space.high
        self._middle, self._half_range = (space.high + space.low) / 2, (space.high - space.low) / 2

    def code(self, action: np.ndarray) -> np.ndarray:
        """Convert actions ``[..., A]`` (Discrete: ``[...]``) to codes ``[..., A]``, float32 in -1 to 1."""
        if self.discrete:
            return np.eye(self.width, dtype=np.float32)[np.asarray(action, int) - self._first]
        return ((action - self._middle) / self._half_range).astype(np.float32)

    def action(self, code: np.ndarray) -> np.ndarray:
        """Convert a code ``[A]`` to an action, clipped to the space (Discrete: argmax)."""
        if self.discrete:
            return np.asarray(int(code.argmax()) + self._first)
        action = (self._middle + self._half_range * code).astype(np.float32)
        return action.clip(self._low, self._high)

    def random(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a code ``[A]`` uniformly (Discrete: a random one-hot vector)."""
        if self.discrete:
            return np.eye(self.width, dtype=np.float32)[rng.integers(self.width)]
        return rng.uniform(-1, 1, self.width).astype(np.float32)
