"""Symmetric logarithm and two-hot codes (DreamerV3, Hafner et al. 2023)."""

import torch
from torch import Tensor

_BINS, _REACH = 255, 20.0  # number of bins, and the symlog of the last one


def symlog(x: Tensor) -> Tensor:
    """``sign(x) ln(1 + |x|)``."""
    return x.sign() * x.abs().log1p()


def symexp(x: Tensor) -> Tensor:
    """Inverse of `symlog`: ``sign(x) (exp(|x|) - 1)``."""
    return x.sign() * x.abs().expm1()


class TwoHot:
    """Distribution of a number over 255 bins, evenly spaced in symlog from -20 to 20.

    Args:
        logits: of the bins, ``[..., 255]``.
    """

    width = _BINS

    def __init__(self, logits: Tensor):
        self._logits = logits
        from_middle = torch.arange(-(_BINS // 2), _BINS // 2 + 1, dtype=logits.dtype, device=logits.device)
        self._bins = from_middle * (_REACH / (_BINS // 2))

    def mean(self) -> Tensor:
        """Mean ``[...]``, on the scale of the numbers.

        It is summed from the middle outwards, so that a uniform distribution has a mean of exactly 0.
        """
        weighted = self._logits.softmax(-1) * symexp(self._bins)
        middle = _BINS // 2
        return (weighted[..., :middle].flip(-1) + weighted[..., middle + 1 :]).sum(-1) + weighted[..., middle]

    def log_probability(self, x: Tensor) -> Tensor:
        """Log-probability ``[...]`` of numbers ``[...]``: minus the cross-entropy with their two-hot codes.

        A two-hot code weights the two bins next to a number so that its mean is the number. Weights by
        symlog, as in DreamerV3, have too large a mean, and bootstrapped values grow by the difference.
        """
        place = (symlog(x).clamp(-_REACH, _REACH) + _REACH) * ((_BINS - 1) / (2 * _REACH))
        at = place.long().clamp(0, _BINS - 2)[..., None]
        numbers, log_probabilities = symexp(self._bins), self._logits.log_softmax(-1)
        below, above = numbers[at[..., 0]], numbers[at[..., 0] + 1]
        share = ((x - below) / (above - below)).clamp(0, 1).to(self._logits.dtype)
        low, high = (log_probabilities.gather(-1, at + k)[..., 0] for k in (0, 1))
        return (1 - share) * low + share * high
