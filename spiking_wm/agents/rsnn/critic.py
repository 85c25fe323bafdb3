"""The critic network: values read out of spikes of its own, learned in every few steps."""

from collections.abc import Sequence

import numpy as np

from spiking_wm.agents.rsnn.options import Options
from spiking_wm.neurons.plasticity import Adam
from spiking_wm.neurons.recurrent import Activity, Array, RecurrentNetwork, by_realisation


class Critic:
    """Values of what is observed, of ``R`` realisations.

    Its read-out and input synapses learn by temporal differences with eligibility traces that are local, as
    the agent's do (Bellec et al. 2020), but while an episode goes on; its recurrent ones stay.

    Args:
        generators: one per realisation.
        inputs: width of the observation.
        options: constants.
    """

    def __init__(self, generators: Sequence[np.random.Generator], inputs: int, options: Options):
        o = options
        scale = inputs * [o.critic_input_scale]
        self.network = RecurrentNetwork(generators, scale, o.critic_neurons, o.critic_constants(), inputs)
        self.value = np.zeros((len(generators), o.critic_neurons, 1), np.float32)
        rates = {"value": o.value_lr, "critic_input": o.critic_input_lr}
        there = {"critic_input": self.network.synapses}
        self.adams = {n: Adam(array, rates[n], 1e-5, there.get(n)) for n, array in self.learned().items()}

    def learned(self) -> dict[str, Array]:
        """The weights that learn, by name."""
        return {"value": self.value, "critic_input": self.network.input_weights}

    def judge(self, activity: Activity, inputs: Array, learning: bool) -> Array:
        """Values ``[R B]`` of inputs ``[R B, D]``; ``activity`` goes on."""
        return by_realisation(self.network.tick(activity, inputs, learning), self.value)[:, 0]

    def factors(self, activity: Activity, alive: Array) -> dict[str, tuple[Array, Array]]:
        """Gradients of the values just given, by name, each as what is before a synapse and behind it."""
        behind = self.value[..., 0].repeat(len(alive) // len(self.value), 0) * activity.derivative * alive
        return {"value": (activity.readout, alive), "critic_input": (activity.input_trace, behind)}

    def learn(self, gradients: dict[str, Array]) -> None:
        """One step of Adam up gradients by name."""
        for name, gradient in gradients.items():
            self.adams[name].ascend(gradient)

    def state(self) -> dict:
        """The arrays that it goes on from, themselves."""
        adams = {name: adam.state() for name, adam in self.adams.items()}
        return {"network": self.network.state(), "value": self.value, "adams": adams}
