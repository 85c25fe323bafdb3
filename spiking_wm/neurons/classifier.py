"""Long sequences told apart by recurrent spiking neurons, or by a GRU."""

import torch
from torch import Tensor, nn

from spiking_wm.neurons.layers import CELLS
from spiking_wm.neurons.sizes import RSSMSizes

GRU = "gru"


class SequenceClassifier(nn.Module):
    """One recurrent layer, its potentials carried, and a linear read-out of its rates.

    Args:
        inputs, neurons, classes: widths.
        kind: of neurons, one of `compartments.KINDS`, or ``gru``.
        memory: longest time that gates keep what there is to begin with, in steps; 0: as drawn.
        synapses: longest time constant of what spiking neurons' synapses filter, in steps; 0: they do not.
        ticks: of spiking neurons in a step; they see each other's mean rates in the one before.
    """

    def __init__(
        self,
        inputs: int,
        neurons: int,
        classes: int,
        kind: str,
        memory: float = 0.0,
        synapses: float = 0.0,
        ticks: int = 1,
    ):
        super().__init__()
        sizes = RSSMSizes(
            neurons=neurons,
            kind=kind,
            ticks=ticks,
            averaged=True,
            gain=1.0,
            memory=memory,
            synapses=synapses,
            floor=1.0,
        )
        self.cell = CELLS[kind != GRU](inputs, sizes)
        self.linear = nn.Linear(neurons, classes)

    def forward(self, sequence: Tensor, last: int) -> Tensor:
        """Logits of sequences ``[L, B, inputs]``.

        Args:
            sequence: what is seen.
            last: steps at the end by whose mean rates a sequence is told, ``[B, classes]``; 0: each step is
                told by its own, ``[L, B, classes]``.
        """
        currents = self.cell.enter(sequence)
        state, rates = self.cell.at_rest(sequence.shape[1], like=sequence), []
        for current in currents:
            state = self.cell(current[None], *state)
            rates.append(state[0][0])
        return self.linear(torch.stack(rates[-last:]).mean(0) if last else torch.stack(rates))


def accuracy(classifier: SequenceClassifier, sequence: Tensor, label: Tensor, last: int) -> float:
    """Share of sequences (or steps) whose most probable class is their label; of those that have one.

    Args:
        classifier: what tells classes.
        sequence: ``[L, B, inputs]``.
        label: ``[B]``, or ``[L, B]`` where ``last`` is 0; -100 where there is none.
        last: as in `SequenceClassifier.forward`.
    """
    with torch.no_grad():
        told, there = classifier(sequence, last).argmax(-1), label >= 0
        return float((told == label)[there].float().mean())
