"""Operations of a streamed decision of a decision transformer, on real trajectories.

A synaptic operation is one addition of a weight because of one spike; a product is a multiplication and
addition of numbers that are no spikes: embeddings of tokens, counts of spikes that meet in attention, routing
between heads, and in a network without spikes everything. Normalising takes three products a number in both
(its square, by the deviation, by the gain). Exponentials, and what neurons do within a tick, are not counted.
"""

import torch
from torch import Tensor

from spiking_wm.agents.spiking_dt.network import KINDS, Block, DecisionTransformer, Trajectory, Units, seen_by
from spiking_wm.chips.energy import Operations

_NORMALISING = 3  # products per number


@torch.no_grad()
def count(network: DecisionTransformer, trajectory: Trajectory) -> tuple[Operations, float]:
    """Operations and spikes per decision, which is a step with its three tokens.

    Args:
        network: the network.
        trajectory: its input (`Decider.as_input`).
    """
    s, steps = network.options, trajectory.step.numel()
    seen, embedding = trajectory.observation.shape[-1] + 1 + trajectory.code.shape[-1], s.width
    products = float(seen * embedding) + _NORMALISING * (KINDS * _normalised(network) + s.width)
    if network.spiking and s.routing:
        products += KINDS * s.layers * (s.heads**2 + s.width)
    if not network.spiking:
        per_token = s.layers * (4 * s.width**2 + 2 * s.width * s.hidden)
        pairs = _pairs(trajectory, s.context) / steps
        attention = s.layers * 2 * s.width * pairs
        return Operations(
            0.0, products + KINDS * per_token + attention + s.width * _outputs(network), ()
        ), 0.0
    rates, attended = {}, []
    hooks = [
        part.register_forward_hook(lambda _part, _inputs, fired, name=name: rates.update({name: fired}))
        for name, part in network.named_modules()
        if isinstance(part, Units)
    ]
    try:
        network(trajectory)
        for number, block in enumerate(network.blocks):
            attended.append(_met(block, rates[f"blocks.{number}.attending"], trajectory, s.context))
    finally:
        for hook in hooks:
            hook.remove()
    fan_out = {"enter": 3 * s.width, "heads": s.width, "enter_hidden": s.hidden, "units": s.width}
    additions = 0.0
    for name, fired in rates.items():
        onwards = _outputs(network) if name == "leave" else fan_out.get(name.rpartition(".")[2], 0)
        additions += float(fired.sum()) * s.ticks * onwards
    spikes = sum(float(fired.sum()) for fired in rates.values()) * s.ticks / steps
    means = tuple(float(fired.mean()) for fired in rates.values())
    return Operations(additions / steps, products + sum(attended) / steps, means), spikes


def _outputs(network: DecisionTransformer) -> int:
    return network.head.out_features


def _normalised(network: DecisionTransformer) -> int:
    """Numbers of a token that are normalised, but for those before the heads: of one token alone."""
    s = network.options
    within = 6 * s.width + s.hidden if network.spiking else 2 * s.width
    return s.width + s.layers * within


def _pairs(trajectory: Trajectory, context: int) -> float:
    batch, length = trajectory.step.shape
    return float(batch * seen_by(length, context).sum())


def _met(block: Block, attending: Tensor, trajectory: Trajectory, context: int) -> float:
    """Products of counts that are not 0: queries with keys, and what comes of it with values."""
    step = trajectory.step.repeat_interleave(KINDS, 1)
    query, key, value = block.split(attending, step)
    seen = seen_by(trajectory.step.shape[1], context)
    fired = [(x > 0).float() for x in (query, key, value)]
    together = (fired[0] @ fired[1].mT) * seen
    return float(together.sum() + ((query @ key.mT * seen > 0).float() @ fired[2]).sum())
