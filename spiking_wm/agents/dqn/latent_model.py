"""A spiking world model that predicts the firing rates of a Q-network's hidden layer."""

from typing import NamedTuple

from torch import Tensor, nn

from spiking_wm.neurons.integrate_and_fire import LIF, fire

_GAIN = 2  # gain of normalised currents, in units of the threshold


class Prediction(NamedTuple):
    """Prediction of one step."""

    features: Tensor  # firing rates [B, H]
    reward: Tensor  # [B]
    final: Tensor  # logit of the probability that the value after it is zero, [B]


class LatentModel(nn.Module):
    """One layer of LIF neurons; the change, the reward and the end are read out of their firing rates.

    Args:
        features: ``H``.
        actions: ``A``.
        neurons: number of spiking neurons.
        ticks: time steps of the network per prediction.
    """

    def __init__(self, features: int, actions: int, neurons: int, ticks: int):
        super().__init__()
        self.features, self.ticks = features, ticks
        self.enter = nn.Linear(features, neurons)
        self.of_action = nn.Embedding(actions, neurons)
        self.norm = nn.LayerNorm(neurons)  # so that some currents cross the threshold for all rates
        self.readout = nn.Linear(neurons, features + 2)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, features: Tensor, action: Tensor) -> Prediction:
        """Predict the step after rates ``[B, H]`` and actions ``[B]``; before training, no change."""
        currents = self.norm(self.enter(features) + self.of_action(action))
        spikes, _ = fire(_GAIN * currents[None], self.ticks, LIF)
        change, reward, final = self.readout(spikes.mean(0)).split((self.features, 1, 1), -1)
        return Prediction((features + change).clamp_min(0), reward[:, 0], final[:, 0])
