"""Noise on actions, while learning: of a fixed size (TD3), or learned by entropy regularisation (SAC).

All methods take what the actor decodes, ``[B, A]`` before the tanh, and give actions in ``[-1, 1]``.
"""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from spiking_wm.agents.popsan.options import Options

_LEAST, _MOST = -5.0, 1.0  # logarithm of a learned deviation


class FixedNoise(nn.Module):
    """Gaussian noise on actions, with the deviations of the options (Fujimoto et al. 2018)."""

    def __init__(self, action_size: int, options: Options):
        super().__init__()
        self.options = options

    def explore(self, decoded: Tensor, generator: Generator) -> Tensor:
        """Actions to explore with."""
        action = torch.tanh(decoded)
        noise = torch.randn(action.shape, generator=generator) * self.options.exploration_noise
        return (action + noise).clamp(-1, 1)

    def next(self, decoded: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Actions whose values are targets, and what is added to each value ``[B]``."""
        size, most = self.options.target.noise, self.options.target.noise_clip
        noise = torch.randn(decoded.shape, generator=generator) * size
        return (torch.tanh(decoded) + noise.clamp(-most, most)).clamp(-1, 1), decoded.new_zeros(len(decoded))

    def improve(self, decoded: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Actions whose values the actor maximises, and the loss in addition ``[B]``."""
        return torch.tanh(decoded), decoded.new_zeros(len(decoded))


class LearnedNoise(nn.Module):
    """Gaussian noise before the tanh, whose deviation is learned for each action value.

    Entropy is rewarded at a temperature that keeps its mean at a target (Haarnoja et al. 2018, arXiv
    1812.05905). The deviation does not depend on the observation, so the network that acts stays as it is.
    """

    def __init__(self, action_size: int, options: Options):
        super().__init__()
        self.log_deviation = nn.Parameter(torch.full((action_size,), -1.0))
        self.log_temperature = nn.Parameter(torch.tensor(-2.0))
        self._entropy = options.actor.entropy * action_size

    def explore(self, decoded: Tensor, generator: Generator) -> Tensor:
        """Actions to explore with."""
        return self._sample(decoded, generator)[0]

    def next(self, decoded: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Actions whose values are targets, and what is added to each value ``[B]``."""
        action, log_density = self._sample(decoded, generator)
        return action, -self.log_temperature.exp() * log_density

    def improve(self, decoded: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Actions whose values the actor maximises, and the loss in addition ``[B]``.

        The loss teaches the temperature too.
        """
        action, log_density = self._sample(decoded, generator)
        temperature = self.log_temperature.exp()
        excess = log_density.detach() + self._entropy
        return action, temperature.detach() * log_density - temperature * excess

    def _sample(self, decoded: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Actions, and the logarithms of their probability densities ``[B]``."""
        log_deviation = self.log_deviation.clamp(_LEAST, _MOST)
        normal = torch.randn(decoded.shape, generator=generator)
        x = decoded + log_deviation.exp() * normal
        density = -0.5 * normal.square() - log_deviation - 0.5 * math.log(2 * math.pi)
        log_slope = 2 * (math.log(2) - x - F.softplus(-2 * x))  # of the tanh
        return torch.tanh(x), (density - log_slope).sum(-1)


Noise = FixedNoise | LearnedNoise
NOISE: dict[str, type[Noise]] = {"fixed": FixedNoise, "learned": LearnedNoise}
"""By the option ``actor.noise``."""


def deviation(log_deviation: Tensor) -> Tensor:
    """Deviations ``[A]`` from the parameter of `LearnedNoise`."""
    return log_deviation.clamp(_LEAST, _MOST).exp()
