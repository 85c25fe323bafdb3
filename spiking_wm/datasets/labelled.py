"""Sequences with classes, as all labelled data sets are loaded."""

from typing import NamedTuple

import torch
from torch import Tensor

UNLABELLED = -100  # ignored by torch.nn.functional.cross_entropy


class Labelled(NamedTuple):
    """``B`` sequences of ``L`` steps with their classes."""

    sequence: Tensor  # [L, B, D], of any type of number
    label: Tensor  # of each sequence, [B], or of each step, [L, B]; `UNLABELLED` where there is none

    @property
    def of_steps(self) -> bool:
        """Whether each step has a label of its own."""
        return self.label.ndim == 2

    @property
    def classes(self) -> int:
        """Number of classes: one more than the largest label."""
        return int(self.label.max()) + 1

    def rows(self, chosen: Tensor) -> "Labelled":
        """Some of the sequences by their numbers, as float32."""
        label = self.label[:, chosen] if self.of_steps else self.label[chosen]
        return Labelled(self.sequence[:, chosen].to(torch.float32), label)
