"""The critic network: values with a read-out of its own spikes, trained every few steps."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spiking_wm.agents.rsnn.options import Options
from spiking_wm.neurons.plasticity import Adam
from spiking_wm.neurons.recurrent import Activity, Array, RecurrentNetwork, by_realisation


class Critic:
    """Values of observations, of ``R`` realisations.

    Its read-out and input synapses learn by temporal differences with local eligibility traces, as in the
    agent (Bellec et al. 2020), but also during episodes. Its recurrent synapses are fixed.

    Args:
        generators: one per realisation.
        inputs: width of the observation, ``D``.
        options: constants.
    """

    def __init__(self, generators: Sequence[np.random.Generator], inputs: int, options: Options):
        o = options.critic
        scale = inputs * [o.input_scale]
        constants = options.critic_constants()
        self.network = RecurrentNetwork(generators, scale, o.neurons, constants, inputs)
        self.readout = np.zeros((len(generators), o.neurons, 1), np.float32)
        rates = {"value": o.lr, "critic_input": o.input_lr}
        there = {"critic_input": self.network.synapses}
        self.adams = {n: Adam(array, rates[n], 1e-5, there.get(n)) for n, array in self.learned().items()}

    def learned(self) -> dict[str, Array]:
        """The trained weights, by name."""
        return {"value": self.readout, "critic_input": self.network.input_weights}

    def values(self, activity: Activity, inputs: Array, learning: bool) -> Array:
        """Values ``[R B]`` for inputs ``[R B, D]``; advances ``activity`` by one tick."""
        return by_realisation(self.network.tick(activity, inputs, learning), self.readout)[:, 0]

    def factors(self, activity: Activity, alive: Array) -> dict[str, tuple[Array, Array]]:
        """Gradients of the last values by the weights: presynaptic and postsynaptic factors, by name."""
        post = self.readout[..., 0].repeat(len(alive) // len(self.readout), 0)
        post = post * activity.derivative * alive
        return {"value": (activity.readout, alive), "critic_input": (activity.input_trace, post)}

    def learn(self, gradients: dict[str, Array]) -> None:
        """One step of gradient ascent (Adam), with gradients by name."""
        for name, gradient in gradients.items():
            self.adams[name].ascend(gradient)

    def state(self) -> dict[str, Any]:
        """The arrays of its state (not copies)."""
        adams = {name: adam.state() for name, adam in self.adams.items()}
        return {"network": self.network.state(), "value": self.readout, "adams": adams}
