"""Running mean and standard deviation of vectors."""

from typing import Any

import torch
from torch import Tensor, nn


class Normaliser(nn.Module):
    """Mean and standard deviation of all vectors seen so far (Welford's update, in float64).

    Args:
        size: number of values ``D``, or a shape if several vectors have separate statistics.
        clip: normalised values are clamped to ``[-clip, clip]``.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor  # sums of squared differences from the mean

    def __init__(self, size: int | tuple[int, ...], clip: float = 5.0):
        super().__init__()
        self.clip = clip
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("mean", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("squares", torch.zeros(size, dtype=torch.float64))
        self._float32: tuple[Tensor, Tensor] | None = None  # mean and scale, until the next update

    def _mean_and_scale(self) -> tuple[Tensor, Tensor]:
        if self._float32 is None:
            variance = self.squares / self.count.clamp(min=1)
            scale = torch.where(variance > 1e-8, variance, 1.0).sqrt().float()
            self._float32 = self.mean.float(), scale
        return self._float32

    @property
    def scale(self) -> Tensor:
        """Standard deviation ``[D]`` (float32); 1 for a value that was constant so far."""
        return self._mean_and_scale()[1]

    def update(self, values: Tensor) -> None:
        """Add one vector ``[D]`` to the statistics."""
        values = values.double()
        difference = values - self.mean
        self.count += 1
        self.mean += difference / self.count
        self.squares.addcmul_(difference, values - self.mean)
        self._float32 = None

    def extend(self, values: Tensor) -> None:
        """Add vectors ``[N, D]`` to the statistics (Chan et al. 1983)."""
        values, new = values.double(), len(values)
        mean, total = values.mean(0), self.count + new
        difference = mean - self.mean
        self.squares += (values - mean).square().sum(0) + difference.square() * self.count * new / total
        self.mean += difference * new / total
        self.count += new
        self._float32 = None

    def forward(self, values: Tensor) -> Tensor:
        """Normalise ``[..., D]`` (float32)."""
        mean, scale = self._mean_and_scale()
        return ((values - mean) / scale).clamp(-self.clip, self.clip)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._float32 = None
