"""Labelled sequences: the type of all labelled data sets."""

from typing import NamedTuple

import torch
from torch import Tensor

UNLABELLED = -100  # ignored by torch.nn.functional.cross_entropy


class Labelled(NamedTuple):
    """``B`` sequences of ``L`` steps with their classes."""

    sequence: Tensor  # [L, B, D], of any numeric type
    label: Tensor  # per sequence, [B], or per step, [L, B]; `UNLABELLED` if there is none

    @property
    def of_steps(self) -> bool:
        """True if every step has its own label."""
        return self.label.ndim == 2

    @property
    def classes(self) -> int:
        """Number of classes: one more than the largest label."""
        return int(self.label.max()) + 1

    def rows(self, chosen: Tensor) -> "Labelled":
        """The sequences with indices ``chosen``, converted to float32."""
        label = self.label[:, chosen] if self.of_steps else self.label[chosen]
        return Labelled(self.sequence[:, chosen].to(torch.float32), label)
