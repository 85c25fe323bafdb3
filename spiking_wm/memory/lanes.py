"""Lanes of a replay memory, one for each copy of the environment: neighbours in time stay neighbours."""

from collections.abc import Sequence

import torch
from torch import Tensor


def locate(numbers: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """What numbers drawn from all lanes together mean.

    Args:
        numbers: from 0 to the sum of ``counts`` - 1, of any shape.
        counts: what each lane has to draw from.

    Returns:
        The lane of each number, and the number within it.
    """
    if len(counts) == 1:
        return torch.zeros_like(numbers), numbers
    ends = torch.tensor(counts).cumsum(0)
    lane = torch.searchsorted(ends, numbers, right=True)
    return lane, numbers - (ends - torch.tensor(counts))[lane]


def as_tensor(of_lanes: Sequence[int]) -> Tensor:
    """Whole numbers of all lanes for a snapshot; of a single lane as a tensor without dimensions."""
    return torch.tensor(of_lanes[0] if len(of_lanes) == 1 else list(of_lanes))


def from_tensor(kept: Tensor) -> list[int]:
    """Inverse of `as_tensor`."""
    return kept.reshape(-1).tolist()
