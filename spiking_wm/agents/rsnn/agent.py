"""Two recurrent spiking networks, agent and model, learning on line by local plasticity.

After Capone & Paolucci, "Towards biologically plausible dreaming and planning in recurrent spiking
networks". Nothing is stored of what was experienced but a handful of moments for dreams to start
from.
"""

import time
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.rsnn.actor import Actor
from spiking_wm.agents.rsnn.actor_and_model import Pair
from spiking_wm.agents.rsnn.heads import head_of
from spiking_wm.agents.rsnn.inputs import Inputs
from spiking_wm.agents.rsnn.open_loop import Foresight
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.chips.network import ChipNetwork, Layer
from spiking_wm.core import contract
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights
from spiking_wm.core.spaces import Spaces
from spiking_wm.neurons.recurrent import Activity, RecurrentNetwork


class RSNNPolicy(contract.Policy):
    """The agent network, whose neurons remember the episode."""

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        self._head = head_of(spaces.action, options.deviation)
        self._inputs = Inputs(spaces.observation, 1, options.scale_inputs)
        width = spaces.observation.shape[0]
        self._actor = Actor([np.random.default_rng(0)], width, self._head.outputs, options)
        self._to_join = self._actor.network.at_rest()

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights."""
        for name, array in _released(self._actor, self._inputs).items():
            array[...] = weights[name].numpy()
        for name, array in vars(self._to_join).items():
            array[...] = weights[f"activity/{name}"].numpy() if f"activity/{name}" in weights else array

    def state_to_join(self) -> Activity:
        """The activity that was released with the weights, else neurons at rest."""
        return self._to_join.copy()

    def initial_state(self, episode: int = 0) -> Activity:
        """Neurons at rest."""
        return self._actor.network.at_rest()

    def act(self, observation: np.ndarray, state: Activity, rng: np.random.Generator | None) -> tuple:
        """An action drawn from the policy; its most probable one without ``rng``."""
        activity = state.copy()
        inputs = self._inputs(observation[None])
        outputs = self._actor.read_out(self._tick(inputs, state, activity))
        if rng is None:
            return self._head.greedy(outputs)[0], activity
        return self._head.draw(outputs, rng.random((1, self._head.chances)))[0], activity

    def _tick(self, inputs: np.ndarray, before: Activity, after: Activity) -> np.ndarray:
        network = self._actor.network
        if self.elsewhere:
            spikes = self.elsewhere(network.currents(before, inputs), before, after)
            if spikes is not None:
                return network.follow(after, inputs, spikes)
        return network.tick(after, inputs, learning=False)

    def chip_network(self) -> ChipNetwork:
        """The recurrent neurons, one tick a decision; what they see and what is read out is the host's."""
        return ChipNetwork((chip_layer(self._actor.network),), 1, carried=True)


def chip_layer(network: RecurrentNetwork) -> Layer:
    """The neurons of one realisation, for chips; currents come from outside."""
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
        reset=reset / membrane_decay,  # taken at the next tick, after the decay
    )


class Agent(contract.Agent):
    """Learns its model in every step; credit for what it does is collected awake, in plans and dreams."""

    policy_class = RSNNPolicy

    def __init__(self, options: Options, spaces: Spaces, seed: int):
        super().__init__(options, spaces, seed)
        self.pair = Pair(options, spaces, [seed])
        self._foresight = Foresight(self.pair) if self.pair.model else None

    def policy_weights(self) -> Weights:
        """The agent network, and what centres its inputs."""
        released = _released(self.pair.actor, self.pair.inputs)
        return {name: torch.from_numpy(array.copy()) for name, array in released.items()}

    def policy_state(self) -> Weights:
        """The activity of the agent network: exact where policies are released as often as it learns."""
        activity = vars(self.pair.awake.activity)
        return {f"activity/{name}": torch.from_numpy(array.copy()) for name, array in activity.items()}

    def observe(self, transition: Transition) -> None:
        """Take in one step: the model learns from it, the agent collects credit."""
        t = transition
        self.pair.see(t.observation[None])
        self.pair.choose(np.asarray(t.action)[None])
        if self._foresight:
            self._foresight.go_on(t.action, t.next_observation)
        self.pair.follow(t.next_observation[None], np.float32([t.reward]), t.terminated, t.truncated)
        if self._foresight and (t.terminated or t.truncated):
            self._foresight.drop()
        elif self._foresight:
            self._foresight.begin(t.next_observation)

    def learn(self) -> Metrics:
        """One step of the agent up what was credited awake since the last one."""
        self.pair.learn()
        return self.model_error()

    @property
    def can_dream(self) -> bool:
        """Whether there is a model, and the time in which only it or values are learned is over."""
        return bool(self.pair.can_dream)

    def dream(self, budget: Budget) -> Iterator[DreamProgress]:
        """Dreams, with an update for every few of them."""
        started, rollouts, updates = time.monotonic(), 0, 0
        while budget.lasts(rollouts, updates, time.monotonic() - started):
            left = self.options.together if budget.rollouts is None else budget.rollouts - rollouts
            metrics = self.pair.dream(left)
            rollouts, updates = rollouts + min(left, self.options.together), updates + 1
            yield DreamProgress(rollouts, updates, metrics)

    def model_error(self) -> Metrics:
        """Running error of one-step predictions, each made before it was learned from."""
        if not self.pair.model:
            return {}
        return {"model_error_1_step": float(self.pair.model.relative_error()[0])}

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """The last stretch that the model went through without looking; nothing before the first."""
        return self._foresight.last() if self._foresight else {}

    def snapshot(self) -> Weights:
        """All weights, traces, states of neurons, moments and counters."""
        return self.pair.snapshot()

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go on from a `snapshot`."""
        self.pair.restore(snapshot)
        if self._foresight:
            self._foresight.drop()


def _released(actor: Actor, inputs: Inputs) -> dict[str, np.ndarray]:
    return inputs.state() | actor.network.state() | {"policy": actor.policy, "sharpness": actor.sharpness}
