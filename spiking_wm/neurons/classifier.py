"""Classification of long sequences by recurrent spiking neurons, or by a GRU."""

import torch
from torch import Tensor, nn

from spiking_wm.neurons.layers import CELLS
from spiking_wm.neurons.options import NeuronOptions

GRU = "gru"


class SequenceClassifier(nn.Module):
    """One recurrent layer that keeps its potentials between steps, with a linear read-out of its rates.

    Args:
        inputs: width of an input.
        neurons: of the recurrent layer.
        classes: width of the read-out.
        kind: kind of neurons, one of `compartments.KINDS`, or ``gru``.
        gate_time: longest initial memory time of gates, in steps; 0: random initialisation.
        synapse_time: longest time constant of spiking neurons' synapses, in steps; 0: no filter.
        ticks: time steps of spiking neurons per sequence step; recurrent input is the mean rate of the
            previous step.
    """

    def __init__(
        self,
        inputs: int,
        neurons: int,
        classes: int,
        kind: str,
        gate_time: float = 0.0,
        synapse_time: float = 0.0,
        ticks: int = 1,
    ):
        super().__init__()
        spiking = kind != GRU
        options = NeuronOptions(
            kind=kind if spiking else "lif",  # unused by a GRU
            ticks=ticks,
            averaged=True,
            gain=1.0,
            gate_time=gate_time,
            synapse_time=synapse_time,
            norm_floor=1.0,
        )
        self.cell = CELLS[spiking](inputs, neurons, options)
        self.linear = nn.Linear(neurons, classes)

    def forward(self, sequence: Tensor, last: int) -> Tensor:
        """Logits of classes.

        Args:
            sequence: inputs ``[L, B, inputs]``.
            last: number of last steps whose mean rates are read out; the result is ``[B, classes]``. 0: every
                step is classified by its own rates; the result is ``[L, B, classes]``.
        """
        currents = self.cell.enter(sequence)
        state, rates = self.cell.at_rest(sequence.shape[1], like=sequence), []
        for current in currents:
            state = self.cell(current[None], *state)
            rates.append(state[0][0])
        return self.linear(torch.stack(rates[-last:]).mean(0) if last else torch.stack(rates))


def accuracy(classifier: SequenceClassifier, sequence: Tensor, label: Tensor, last: int) -> float:
    """Classification accuracy over labelled sequences (or steps), 0 to 1.

    Args:
        classifier: the classifier.
        sequence: inputs ``[L, B, inputs]``.
        label: ``[B]``, or ``[L, B]`` where ``last`` is 0; -100 marks a missing label.
        last: as in `SequenceClassifier.forward`.
    """
    with torch.no_grad():
        predicted, labelled = classifier(sequence, last).argmax(-1), label >= 0
        return float((predicted == label)[labelled].float().mean())
