"""Actions as networks have them."""

import numpy as np
from gymnasium.spaces import Discrete

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces


class Actions:
    """Vectors in half ranges from the middle, or one-hot codes.

    Args:
        spaces: of the environment.
        agent: whose actions they are, to be named where it does not serve these spaces.
    """

    def __init__(self, spaces: Spaces, agent: str):
        space = self._space = spaces.action
        self.discrete = isinstance(space, Discrete)
        if self.discrete:
            self.width = int(space.n)
            return
        if len(space.shape) != 1 or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise UserError(f"{agent} takes Discrete actions or a bounded vector of them, not {space}")
        self.width = space.shape[0]
        self._middle, self._half_range = (space.high + space.low) / 2, (space.high - space.low) / 2

    def code(self, action: np.ndarray) -> np.ndarray:
        """``[..., A]``, -1 to 1, of one action or of many."""
        if self.discrete:
            return np.eye(self.width, dtype=np.float32)[np.asarray(action, int) - int(self._space.start)]
        return ((action - self._middle) / self._half_range).astype(np.float32)

    def action(self, code: np.ndarray) -> np.ndarray:
        """The action of a code ``[A]``, inside the space."""
        if self.discrete:
            return np.asarray(int(code.argmax()) + int(self._space.start))
        action = (self._middle + self._half_range * code).astype(np.float32)
        return action.clip(self._space.low, self._space.high)

    def random(self, rng: np.random.Generator) -> np.ndarray:
        """A code drawn uniformly."""
        if self.discrete:
            return np.eye(self.width, dtype=np.float32)[rng.integers(self.width)]
        return rng.uniform(-1, 1, self.width).astype(np.float32)
