"""Cost of a decision of a Q-network: synaptic operations and products, counted by spikingjelly."""

import torch
from torch import Tensor

from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.chips.energy import Operations
from spiking_wm.core.extras import missing_extra


@torch.no_grad()
def count(network: QNetwork, observation: Tensor) -> Operations:
    """Mean operations per decision, over observations ``[B, ...]``.

    Raises:
        UserError: if spikingjelly is not installed.
    """
    with missing_extra():
        from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter, SynOpCounter

    additions, products = SynOpCounter(), MACCounter()
    with DispatchCounterMode([additions, products], strict=False):
        network(observation)
    spikes = network.activity(observation).spikes if network.spiking else []
    return Operations(
        synaptic_operations=additions.get_total() / len(observation),
        products=products.get_total() / len(observation),
        rates=tuple(float(layer.mean()) for layer in spikes),
    )
