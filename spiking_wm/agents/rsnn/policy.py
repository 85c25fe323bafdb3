"""The agent network as a policy; the state of its neurons is its memory."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from spiking_wm.agents.rsnn.actor import Actor
from spiking_wm.agents.rsnn.heads import head_of
from spiking_wm.agents.rsnn.inputs import Inputs
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.chips.network import ChipNetwork, Layer
from spiking_wm.core.contract import Policy
from spiking_wm.core.spaces import Spaces
from spiking_wm.neurons.recurrent import Activity, RecurrentNetwork


class RSNNPolicy(Policy):
    """The agent network. Its state is an `Activity` of one row."""

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        self._head = head_of(spaces, options.policy.deviation)
        self._inputs = Inputs(spaces.observation, 1, options.scale_inputs)
        width = spaces.observation.shape[0]
        self._actor = Actor([np.random.default_rng(0)], width, self._head.outputs, options)
        self._to_join = self._actor.network.at_rest()

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights."""
        for name, array in released(self._actor, self._inputs).items():
            array[...] = weights[name].numpy()
        for name, array in vars(self._to_join).items():
            array[...] = weights[f"activity/{name}"].numpy() if f"activity/{name}" in weights else array

    def state_to_join(self, copy: int = 0) -> Activity:
        """The activity that was released with the weights, else neurons at rest."""
        return self._to_join.copy()

    def initial_state(self, episode: int = 0) -> Activity:
        """Neurons at rest."""
        return self._actor.network.at_rest()

    def act(
        self, observation: np.ndarray, state: Activity, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, Activity]:
        """An action drawn from the policy; the most probable one without ``rng``."""
        activity = state.copy()
        inputs = self._inputs(observation[None])
        outputs = self._actor.read_out(self._tick(inputs, state, activity))
        if rng is None:
            return self._head.greedy(outputs)[0], activity
        return self._head.draw(outputs, rng.random((1, self._head.noise_width)))[0], activity

    def _tick(self, inputs: np.ndarray, before: Activity, after: Activity) -> np.ndarray:
        network = self._actor.network
        if self.network_runner:
            spikes = self.network_runner(network.currents(before, inputs), before, after)
            if spikes is not None:
                return network.take_spikes(after, inputs, spikes)
        return network.tick(after, inputs, learning=False)

    def chip_network(self) -> ChipNetwork:
        """The recurrent neurons, one time step per decision; input coding and read-outs stay on the host."""
        return ChipNetwork((chip_layer(self._actor.network),), 1, carried=True)


def released(actor: Actor, inputs: Inputs) -> dict[str, np.ndarray]:
    """The arrays that a policy needs to act (not copies)."""
    return inputs.state() | actor.network.state() | {"policy": actor.policy, "sharpness": actor.sharpness}


def chip_layer(network: RecurrentNetwork) -> Layer:
    """The neurons of one realisation as a chip's layer; currents come from outside."""
    membrane_decay, synapse_decay, _, _, reset, _ = map(float, network.numbers)
    recurrent = (1 - synapse_decay) * (1 - membrane_decay) * network.weights[0].T.astype(np.float64)
    return Layer(
        None,
        np.zeros(len(recurrent)),
        synapse_decay,
        membrane_decay,
        threshold=0.0,
        recurrent=recurrent,
        start=network.constants.start,
        reset=reset / membrane_decay,  # subtracted in the next time step, after the decay
    )
