"""Long sequences told apart by recurrent spiking neurons, or by a GRU."""

import torch
from torch import Tensor, nn

from spiking_wm_ros.snn.layers import CELLS
from spiking_wm_ros.snn.sizes import RSSMSizes

GRU = "gru"


class SequenceClassifier(nn.Module):
    """One recurrent layer, one tick a step, its potentials carried, and a linear read-out of its rates.

    Args:
        inputs, neurons, classes: widths.
        kind: of neurons, one of `compartments.KINDS`, or ``gru``.
        memory: longest time that gates of MCNs keep a potential to begin with, in steps.
    """

    def __init__(self, inputs: int, neurons: int, classes: int, kind: str, memory: float):
        super().__init__()
        sizes = RSSMSizes(neurons=neurons, kind=kind, gain=1.0, memory=memory, floor=1.0)
        self.cell = CELLS[kind != GRU](inputs, sizes)
        self.linear = nn.Linear(neurons, classes)

    def forward(self, sequence: Tensor, last: int) -> Tensor:
        """Logits ``[B, classes]`` of sequences ``[L, B, inputs]`` by mean rates in their last steps."""
        currents = self.cell.enter(sequence)
        state = self.cell.at_rest(sequence.shape[1], like=sequence)
        rates = 0.0
        for step, current in enumerate(currents):
            state = self.cell(current[None], *state)
            if step >= len(sequence) - last:
                rates = rates + state[0][0] / last
        return self.linear(rates)


def accuracy(classifier: SequenceClassifier, sequence: Tensor, label: Tensor, last: int) -> float:
    """Share of sequences ``[L, B, inputs]`` whose most probable class is the label ``[B]``."""
    with torch.no_grad():
        return float((classifier(sequence, last).argmax(-1) == label).float().mean())
