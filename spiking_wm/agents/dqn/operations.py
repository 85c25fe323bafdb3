"""What a decision of a Q-network costs: synaptic operations, products, and an estimate of energy.

Counted by spikingjelly: a synaptic operation is one addition of a weight because of one spike; a product is a
multiplication and addition, as where a layer sees pictures, or numbers that are no spikes.
"""

from typing import NamedTuple

import torch
from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter, SynOpCounter
from torch import Tensor

from spiking_wm.agents.dqn.network import QNetwork

# picojoules of one, 45 nm, 32 bits (Horowitz 2014)
PER_PRODUCT, PER_ADDITION = 4.6, 0.9


class Operations(NamedTuple):
    """Per decision, and mean rates of each layer, spikes a neuron a tick."""

    synaptic_operations: float
    products: float
    rates: tuple[float, ...]

    @property
    def energy(self) -> float:
        """Of synapses alone, estimated, in nanojoules."""
        return (self.synaptic_operations * PER_ADDITION + self.products * PER_PRODUCT) / 1000


@torch.no_grad()
def count(network: QNetwork, observation: Tensor) -> Operations:
    """Operations of decisions about observations ``[B, ...]``."""
    additions, products = SynOpCounter(), MACCounter()
    with DispatchCounterMode([additions, products], strict=False):
        network(observation)
    spikes = network.activity(observation).spikes if network.sizes.spiking else []
    per_decision = (counter.get_total() / len(observation) for counter in (additions, products))
    return Operations(*per_decision, tuple(float(layer.mean()) for layer in spikes))
