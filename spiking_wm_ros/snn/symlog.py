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
        """Of numbers ``[...]``: each a mixture of the two bins that it lies between."""
        place = (symlog(x).clamp(-_REACH, _REACH) + _REACH) * ((_BINS - 1) / (2 * _REACH))
        below = place.floor().clamp(0, _BINS - 2)
        share = (place - below).to(self._logits.dtype)
        log_probabilities = self._logits.log_softmax(-1)
        at = below.long()[..., None]
        low, high = (log_probabilities.gather(-1, at + k)[..., 0] for k in (0, 1))
        return (1 - share) * low + share * high
