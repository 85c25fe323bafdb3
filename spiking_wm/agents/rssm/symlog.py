"""Scales on which small and large values count (Hafner et al. 2023, DreamerV3)."""

import torch
from torch import Tensor

_BINS, _REACH = 255, 20.0  # of two-hot codes, in symlog


def symlog(x: Tensor) -> Tensor:
    """``sign(x) ln(1 + |x|)``."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Undo `symlog`."""
    return x.sign() * x.abs().expm1()


class TwoHot:
    """Distributions of numbers as weights of 255 bins that are evenly spaced in symlog.

    Args:
        logits: ``[..., 255]``.
    """

    width = _BINS

    def __init__(self, logits: Tensor):
        self._logits = logits
        from_middle = torch.arange(-(_BINS // 2), _BINS // 2 + 1, dtype=logits.dtype, device=logits.device)
        self._bins = from_middle * (_REACH / (_BINS // 2))

    def mean(self) -> Tensor:
        """``[...]``, summed from the middle outwards so that a flat distribution has a mean of exactly 0."""
        weighted = self._logits.softmax(-1) * symexp(self._bins)
        middle = _BINS // 2
        return (weighted[..., :middle].flip(-1) + weighted[..., middle + 1 :]).sum(-1) + weighted[..., middle]

    def log_probability(self, x: Tensor) -> Tensor:
        """Of numbers ``[...]``: each the mixture of the two bins that it lies between whose mean it is."""
        place = (symlog(x).clamp(-_REACH, _REACH) + _REACH) * ((_BINS - 1) / (2 * _REACH))
        at = place.long().clamp(0, _BINS - 2)[..., None]
        numbers, log_probabilities = symexp(self._bins), self._logits.log_softmax(-1)
        below, above = numbers[at[..., 0]], numbers[at[..., 0] + 1]
        # shares of symlogs would have too large a mean, and bootstrapped values would grow by that
        share = ((x - below) / (above - below)).clamp(0, 1).to(self._logits.dtype)
        low, high = (log_probabilities.gather(-1, at + k)[..., 0] for k in (0, 1))
        return (1 - share) * low + share * high
