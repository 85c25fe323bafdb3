"""Held-out rows of a replay memory: world models are evaluated on them and never trained on them."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class HeldOut:
    """The last ``count`` rows of every ``block`` rows are held out, the others are for training.

    Held-out rows of a block are consecutive in time, so open-loop predictions can be compared with them.

    Args:
        block: rows in a block.
        count: held-out rows in a block.
    """

    block: int
    count: int

    @property
    def training(self) -> int:
        """Training rows in a block; they come first."""
        return self.block - self.count

    def whole_blocks(self, rows: int) -> int:
        """``rows`` rounded up to whole blocks."""
        return -(-rows // self.block) * self.block

    def contains(self, rows: Tensor) -> Tensor:
        """True for each of ``rows`` that is held out."""
        return rows % self.block >= self.training

    def training_count(self, filled: int) -> int:
        """Training rows among the first ``filled`` rows."""
        blocks, rest = divmod(filled, self.block)
        return blocks * self.training + min(rest, self.training)

    def training_rows(self, numbers: Tensor) -> Tensor:
        """Rows of the training rows with these ``numbers``, counted from 0 over all blocks."""
        return numbers // self.training * self.block + numbers % self.training

    def first(self, blocks: Tensor) -> Tensor:
        """The first held-out row of each of the ``blocks``, given by number."""
        return blocks * self.block + self.training

    def segments(self, first: int, end: int, length: int) -> Tensor:
        """Rows ``[W, length]`` of all segments of held-out rows within ``first`` to ``end - 1``, in order.

        A segment is ``length`` consecutive held-out rows; segments of a block overlap.
        """
        if length > self.count or end - first < length:
            return torch.empty((0, length), dtype=torch.int64)
        blocks = torch.arange(first // self.block, self.whole_blocks(end) // self.block)
        starts = (self.first(blocks)[:, None] + torch.arange(self.count - length + 1)).flatten()
        starts = starts[(starts >= first) & (starts <= end - length)]
        return starts[:, None] + torch.arange(length)
