"""Running mean and standard deviation of vectors."""

import torch
from torch import Tensor, nn


class Normaliser(nn.Module):
    """Mean and deviation of all vectors seen (Welford's update, in float64).

    Args:
        size: number of values.
        clip: normalised values are clamped to ``[-clip, clip]``.
    """

    def __init__(self, size: int, clip: float = 5.0):
        super().__init__()
        self.clip = clip
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))
        self._scale: Tensor | None = None

    @property
    def scale(self) -> Tensor:
        """Standard deviation ``[D]``; 1 for a value that never moved."""
        if self._scale is None:
            variance = self.squares / self.count.clamp(min=1)
            self._scale = torch.where(variance > 1e-8, variance, 1.0).sqrt().float()
            self._offset = self.mean.float()
        return self._scale

    def update(self, values: Tensor) -> None:
        """Take in one vector ``[D]``."""
        values = values.double()
        difference = values - self.mean
        self.count += 1
        self.mean += difference / self.count
        self.squares.addcmul_(difference, values - self.mean)
        self._scale = None

    def extend(self, values: Tensor) -> None:
        """Take in many vectors ``[N, D]`` at once (Chan et al. 1983)."""
        values, new = values.double(), len(values)
        mean, total = values.mean(0), self.count + new
        difference = mean - self.mean
        self.squares += (values - mean).square().sum(0) + difference.square() * self.count * new / total
        self.mean += difference * new / total
        self.count += new
        self._scale = None

    def forward(self, values: Tensor) -> Tensor:
        """Normalise ``[..., D]``."""
        scale = self.scale
        return ((values - self._offset) / scale).clamp(-self.clip, self.clip)

    def _load_from_state_dict(self, *arguments) -> None:
        super()._load_from_state_dict(*arguments)
        self._scale = None
