"""A spiking world model in the firing rates of a Q-network's hidden layer."""

from typing import NamedTuple

from torch import Tensor, nn

from spiking_wm.neurons.integrate_and_fire import LIF, fire

_GAIN = 2  # of normalised currents, in thresholds


class Prediction(NamedTuple):
    """What follows a step."""

    features: Tensor  # firing rates [B, H]
    reward: Tensor  # [B]
    final: Tensor  # logit of the probability that the value after it is zero, [B]


class LatentModel(nn.Module):
    """One layer of LIF neurons; the change, the reward and the end are read out of their firing rates.

    Args:
        features: ``H``.
        actions: ``A``.
        neurons: that spike.
        ticks: time steps of a prediction.
    """

    def __init__(self, features: int, actions: int, neurons: int, ticks: int):
        super().__init__()
        self.features, self.ticks = features, ticks
        self.enter = nn.Linear(features, neurons)
        self.of_action = nn.Embedding(actions, neurons)
        self.norm = nn.LayerNorm(neurons)  # some currents cross the threshold, whatever the rates are
        self.readout = nn.Linear(neurons, features + 2)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, features: Tensor, action: Tensor) -> Prediction:
        """What follows rates ``[B, H]`` and actions ``[B]``; before learning, no change."""
        currents = self.norm(self.enter(features) + self.of_action(action))
        spikes, _ = fire(_GAIN * currents[None], self.ticks, LIF)
        change, reward, final = self.readout(spikes.mean(0)).split((self.features, 1, 1), -1)
        return Prediction((features + change).clamp_min(0), reward[:, 0], final[:, 0])
