"""Observations in the form that the networks take."""

import numpy as np
import torch
from torch import Tensor

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces

SIDE = 64  # side of pictures, in pixels


class Observations:
    """Vectors unchanged; pictures of any size as 64 x 64 bytes per channel.

    Args:
        spaces: of the environment.

    Raises:
        UserError: if observations are neither vectors of numbers nor pictures of bytes.
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
        """Convert one observation; the result has `shape` and `dtype`."""
        seen = torch.as_tensor(np.ascontiguousarray(observation))
        if not self.pictures or tuple(seen.shape) == self.shape:
            return seen
        channels = seen.reshape(*seen.shape[:2], -1).permute(2, 0, 1)[None].float()
        resized = torch.nn.functional.interpolate(channels, (SIDE, SIDE), mode="area")
        return resized[0].permute(1, 2, 0).round().to(torch.uint8)
