"""What a decision of a Q-network costs: synaptic operations and products, counted by spikingjelly."""

import torch
from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter, SynOpCounter
from torch import Tensor

from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.chips.energy import Operations


@torch.no_grad()
def count(network: QNetwork, observation: Tensor) -> Operations:
    """Operations of decisions about observations ``[B, ...]``."""
    additions, products = SynOpCounter(), MACCounter()
    with DispatchCounterMode([additions, products], strict=False):
        network(observation)
    spikes = network.activity(observation).spikes if network.sizes.spiking else []
    per_decision = (counter.get_total() / len(observation) for counter in (additions, products))
    return Operations(*per_decision, tuple(float(layer.mean()) for layer in spikes))
