"""Observations and actions as the networks have them."""

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor

from spiking_wm_ros.agents.spaces import Spaces
from spiking_wm_ros.errors import UserError

SIDE = 64  # of pictures, pixels


class Observations:
    """Vectors as they are, pictures of any size as 64 x 64 of bytes.

    Args:
        spaces: of the environment.
    """

    def __init__(self, spaces: Spaces):
        space = spaces.observation
        self.pictures = space.dtype == np.uint8
        if len(space.shape) not in ((2, 3) if self.pictures else (1,)):
            raise UserError(
                f"spiking_wm sees vectors of numbers or pictures of bytes, not {space.dtype} {space.shape}:"
                f" choose another env:="
            )
        self.given = space.shape
        channels = space.shape[2] if len(space.shape) == 3 else 1
        self.shape = (SIDE, SIDE, channels) if self.pictures else space.shape
        self.dtype = torch.uint8 if self.pictures else torch.float32

    def __call__(self, observation: np.ndarray) -> Tensor:
        """One observation, of `shape` and `dtype`."""
        seen = torch.as_tensor(np.ascontiguousarray(observation))
        if not self.pictures or tuple(seen.shape) == self.shape:
            return seen
        channels = seen.reshape(*seen.shape[:2], -1).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(channels, (SIDE, SIDE), mode="area")
        return resized[0].permute(1, 2, 0).round().to(torch.uint8)


class Actions:
    """Vectors in half ranges from the middle, or one-hot codes.

    Args:
        spaces: of the environment.
    """

    def __init__(self, spaces: Spaces):
        space = self._space = spaces.action
        self.discrete = isinstance(space, Discrete)
        if self.discrete:
            self.width = int(space.n)
            return
        if len(space.shape) != 1 or not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise UserError(f"spiking_wm takes Discrete actions or a bounded vector of them, not {space}")
        self.width = space.shape[0]
        self._middle, self._half_range = (space.high + space.low) / 2, (space.high - space.low) / 2

    def code(self, action: np.ndarray) -> np.ndarray:
        """``[A]``, -1 to 1."""
        if self.discrete:
            return np.eye(self.width, dtype=np.float32)[int(action) - int(self._space.start)]
        return ((action - self._middle) / self._half_range).astype(np.float32)

    def action(self, code: np.ndarray) -> np.ndarray:
        """The action of a code, inside the space."""
        if self.discrete:
            return np.asarray(int(code.argmax()) + int(self._space.start))
        action = (self._middle + self._half_range * code).astype(np.float32)
        return action.clip(self._space.low, self._space.high)

    def random(self, rng: np.random.Generator) -> np.ndarray:
        """A code drawn uniformly."""
        if self.discrete:
            return np.eye(self.width, dtype=np.float32)[rng.integers(self.width)]
        return rng.uniform(-1, 1, self.width).astype(np.float32)
