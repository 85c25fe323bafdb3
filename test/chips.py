"""Networks and policies for simulated chips."""

import numpy as np
import torch

from spiking_wm.agents.popsan.network import PopSAN, chip_layers
from spiking_wm.agents.popsan.options import ActorOptions
from spiking_wm.chips.backends.loihi_sim.options import Options
from spiking_wm.chips.backends.loihi_sim.simulator import Simulator
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.core.presets import resolve
from spiking_wm.core.registry import agent_class
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import make_env

FLOAT, WHOLE = Options(precision="floating_pt", patience=30.0), Options(patience=30.0)


def popsan(bits: int = 0, hidden: tuple = (48, 32)) -> PopSAN:
    """One whose layers all fire, biases included."""
    torch.manual_seed(1)
    net = PopSAN(5, 3, ActorOptions(hidden=hidden, bits=bits))
    with torch.no_grad():
        for layer in net.layers:
            layer.weight *= 3
            layer.bias *= 3
    return net


def network_of(net: PopSAN) -> ChipNetwork:
    return ChipNetwork(chip_layers(net.acting()), net.sizes.ticks)


def observations(count: int, width: int = 5) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


def on_chip(network: ChipNetwork, options: Options, inputs: np.ndarray) -> list[np.ndarray]:
    """Spikes ``[T, B, N]`` of every layer, a decision for each of ``[T, B, inputs]``."""
    chip = Simulator(network, options, probes=True)
    try:
        decisions = [chip.run(inputs[:, k]) for k in range(inputs.shape[1])]
    finally:
        chip.close()
    return [np.stack(train, 1) for train in zip(*decisions)]


def policy_of(algorithm: str, env: str, **given):
    """An untrained policy, and its environment."""
    setup, made = resolve(algorithm, env, given), make_env(env)
    agent = agent_class(setup.agent)(setup.agent_options, Spaces.of(made), 0)
    policy = agent.policy_class(setup.agent_options, agent.spaces)
    policy.load(agent.policy_weights() | ({"random": torch.tensor(False)} if setup.agent == "popsan" else {}))
    return policy, made
