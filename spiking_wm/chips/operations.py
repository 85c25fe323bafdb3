"""Cost of a decision on a neuromorphic chip: synaptic operations, neuron updates, estimated energy."""

from typing import NamedTuple

import numpy as np

from spiking_wm.chips.network import ChipNetwork, Layer
from spiking_wm.chips.reference import trains_of

# picojoules per operation, measured on Loihi (Davies et al. 2018, IEEE Micro 38 (1), table 2)
PER_OPERATION, PER_UPDATE = 23.6, 81.0


class LayerCost(NamedTuple):
    """Size of a layer, and its operations per decision."""

    neurons: int
    synapses: int
    spikes: float
    synaptic_operations: float
    updates: float

    @property
    def energy(self) -> float:
        """Estimated energy in nanojoules per decision, without the routing of spikes between cores."""
        return (self.synaptic_operations * PER_OPERATION + self.updates * PER_UPDATE) / 1000


def count(network: ChipNetwork, inputs: np.ndarray) -> list[LayerCost]:
    """Costs of every layer, averaged over decisions.

    A synaptic operation is a spike, or a nonzero input, that reaches a synapse in a tick.

    Args:
        network: the network.
        inputs: inputs of the decisions, as in `trains_of`.
    """
    decisions, ticks = (len(inputs) if network.carried else inputs.shape[1]), network.ticks
    trains, costs = trains_of(network, inputs), []
    before = np.broadcast_to(inputs != 0, (1 if network.carried else ticks, *inputs.shape[1:]))
    for layer, train in zip(network.layers, trains):
        sent = train if layer.recurrent is not None else before
        operations = (sent.reshape(-1, sent.shape[-1]) @ _fan_out(layer)).sum()
        costs.append(
            LayerCost(
                layer.neurons,
                int(_fan_out(layer).sum()),
                float(train.sum(dtype=int)) / decisions,
                float(operations) / decisions,
                float(layer.neurons * ticks),
            )
        )
        before = train
    return costs


def _fan_out(layer: Layer) -> np.ndarray:
    """Synapses per input, ``[inputs]``; for a layer with currents as inputs, its recurrent synapses."""
    matrix = layer.recurrent if layer.recurrent is not None else layer.matrix()
    return np.asarray((matrix != 0).sum(0), float).ravel()
