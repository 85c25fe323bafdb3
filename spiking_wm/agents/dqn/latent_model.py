"""A spiking model of what comes next, in the rates of a Q-network's last hidden layer."""

from typing import NamedTuple

from torch import Tensor, nn

from spiking_wm.neurons.integrate_and_fire import LIF, fire


class Step(NamedTuple):
    """What comes next."""

    features: Tensor  # [B, H]
    reward: Tensor  # [B]
    final: Tensor  # logit of its being the end, [B]


class LatentModel(nn.Module):
    """One layer of spiking neurons; what changes, and what follows, is read out of their mean rates.

    Args:
        features: ``H``.
        actions: ``A``.
        neurons: that spike.
        ticks: spike steps of a prediction.
    """

    def __init__(self, features: int, actions: int, neurons: int, ticks: int):
        super().__init__()
        self.features, self.ticks = features, ticks
        self.enter = nn.Linear(features, neurons)
        self.of_action = nn.Embedding(actions, neurons)
        self.norm = nn.LayerNorm(neurons)  # so that some currents cross the threshold, whatever the rates are
        self.readout = nn.Linear(neurons, features + 2)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, features: Tensor, action: Tensor) -> Step:
        """What follows rates ``[B, H]`` and actions ``[B]``; to begin with, no change."""
        currents = self.norm(self.enter(features) + self.of_action(action))
        spikes, _ = fire(2 * currents[None], self.ticks, LIF)
        change, reward, final = self.readout(spikes.mean(0)).split((self.features, 1, 1), -1)
        return Step((features + change).clamp_min(0), reward[:, 0], final[:, 0])
