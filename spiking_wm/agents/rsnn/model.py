"""The model network: predicts the change of the world and the reward, learned by its errors on line."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from spiking_wm.agents.rsnn.changes import Mean, Places
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.neurons.plasticity import Adam, CreditedTrace
from spiking_wm.neurons.recurrent import Activity, Array, RecurrentNetwork, by_realisation

_FORGET = np.float32(0.001)  # per step, of what is running
_FIRST = 20  # changes that are taken for usual, whatever they are
_STILL = 1e-6  # change of an input that is none


class Prediction(NamedTuple):
    """What a model expects: changes ``[R B, D]`` in units, and the rewards ``[R B]`` that it remembers."""

    change: Array
    outputs: Array  # of the read-outs, what changes are told by
    reward: Array
    moving: Array  # the last change, as observed, [R B, D]


class Model:
    """World models of ``R`` realisations (paper, eq. 4 and 5).

    Args:
        generators: one per realisation.
        inputs, actions: widths of observation and action code.
        options: constants.
    """

    def __init__(
        self, generators: Sequence[np.random.Generator], inputs: int, actions: int, options: Options
    ):
        o, realisations = options, len(generators)
        self.options = o
        scale = inputs * [o.model_input_scale] + actions * [o.action_scale]
        self.network = RecurrentNetwork(generators, scale, o.model_neurons, o.model_constants(), inputs)
        self._changes = Places(o.places, o.place_reach) if o.places else Mean()
        self.change = np.zeros((realisations, o.model_neurons, inputs * self._changes.width), np.float32)
        self.reward = np.zeros((realisations, o.model_neurons, 1), np.float32)
        weights = {"recurrent": self.network.weights, "change": self.change, "reward": self.reward}
        if o.model_input_lr:
            weights["input"] = self.network.input_weights
        rates = {
            "recurrent": o.model_lr,
            "input": o.model_input_lr,
            "change": o.change_lr,
            "reward": o.reward_lr,
        }
        there = {"input": self.network.synapses}
        self.adams = {n: Adam(array, rates[n], 1e-5, there.get(n)) for n, array in weights.items()}
        self.traces = {name: CreditedTrace(a.shape, 0.0, o.model_every + 1) for name, a in weights.items()}
        self.usual, self.usual_seen = np.zeros((2, realisations, inputs), np.float32)
        self.error, self.no_change_error = np.zeros((2, realisations), np.float32)
        self.taken_in = np.zeros((), np.int64)
        self.begin()

    def begin(self) -> None:
        """Begin an episode."""
        self.activity = self.network.at_rest()
        self.remembered_reward = np.zeros(len(self.change), np.float32)

    def unit(self) -> Array:
        """The change that counts as 1, ``[R, D]``: given, or the mean size of changes."""
        if self.options.change_unit:
            return np.full_like(self.usual, self.options.change_unit)
        return np.where(self.usual > _STILL, self.usual, np.float32(1))

    def predict(
        self, activity: Activity, observation: Array, code: Array, learning: bool = False
    ) -> Prediction:
        """What comes after observations ``[R B, D]`` and action codes ``[R B, A]``; ``activity`` goes on.

        With ``learning`` a `correct` may follow.
        """
        last = activity.inputs[:, : observation.shape[1]]
        moving = np.where(np.isinf(last), np.float32(0), observation - last)
        spikes = self.network.tick(activity, np.concatenate([observation, code], 1), learning)
        outputs, reward = by_realisation(spikes, self.change), by_realisation(spikes, self.reward)
        return Prediction(self._changes.change(outputs), outputs, reward[:, 0], moving)

    def shuffle(self, generators: Sequence[np.random.Generator]) -> Callable[[], None]:
        """Give each neuron the read-outs of another one; the function returned undoes it."""
        orders = [generator.permutation(self.options.model_neurons) for generator in generators]

        def reorder(inverse: bool) -> None:
            for row, order in enumerate(orders):
                order = np.argsort(order) if inverse else order
                self.change[row], self.reward[row] = self.change[row][order], self.reward[row][order]

        reorder(inverse=False)
        return lambda: reorder(inverse=True)

    def after(self, observation: Array, prediction: Prediction) -> tuple[Array, Array]:
        """Predicted observations ``[R B, D]``, and rewards ``[R B]``."""
        reward = prediction.reward * np.float32(1 - self.options.reward_memory)
        reward = np.where(np.abs(reward) < self.options.least_reward, np.float32(0), reward)
        unit = np.repeat(self.unit(), len(observation) // len(self.usual), 0)
        change = prediction.change * unit
        if self.options.least_turn:
            goes_on = np.abs(change - prediction.moving) < np.float32(self.options.least_turn) * unit
            change = np.where(goes_on, prediction.moving, change)
        return observation + change, reward

    def correct(self, prediction: Prediction, observation: Array, following: Array, reward: Array) -> None:
        """Learn from what came after the last prediction of `activity`."""
        o, a = self.options, self.activity
        change = self._usual(following - observation)
        self.remembered_reward = np.float32(o.reward_memory) * self.remembered_reward + reward
        direction = self._changes.direction(change, prediction.outputs)
        reward_error = (self.remembered_reward - prediction.reward)[:, None]
        self.error += _FORGET * (np.square(change - prediction.change).mean(1) - self.error)
        self.no_change_error += _FORGET * (np.square(change).mean(1) - self.no_change_error)
        learning = by_realisation(direction, self.change.transpose(0, 2, 1))
        learning += np.float32(o.reward_weight) * reward_error * self.reward[..., 0]
        learning *= a.derivative
        self.traces["recurrent"].add(a.trace, learning)
        if "input" in self.traces:
            self.traces["input"].add(a.input_trace, learning)
        self.traces["change"].add(a.readout, direction)
        self.traces["reward"].add(a.readout, reward_error)
        for trace in self.traces.values():
            trace.credit(np.ones(len(reward), np.float32))
        self.taken_in += 1
        learns = not o.model_until or self.taken_in <= o.model_until
        if learns and self.taken_in % o.model_every == 0:
            for name, adam in self.adams.items():
                adam.ascend(self.traces[name].take())

    def _usual(self, moved: Array) -> Array:
        """Changes in units; those that are too large to be usual are taken for a new start, and none."""
        size, first = np.abs(moved), self.usual_seen < _FIRST
        largest = np.where(first, np.inf, self.options.largest_change * self.unit()).astype(np.float32)
        moves = size > _STILL  # what rests for long moves no less when it moves again
        self.usual_seen += moves
        weight = np.maximum(1 / np.maximum(self.usual_seen, 1), _FORGET)
        self.usual += np.where(moves, weight * (np.minimum(size, largest) - self.usual), np.float32(0))
        return np.where(size <= largest, moved / self.unit(), np.float32(0))

    def relative_error(self) -> Array:
        """Running squared error of predicted changes, as a share of no change's, ``[R]``."""
        return self.error / np.maximum(self.no_change_error, 1e-6)

    def state(self) -> dict:
        """The arrays that it goes on from, themselves."""
        return {
            "network": self.network.state(),
            "change": self.change,
            "reward": self.reward,
            "adams": {name: adam.state() for name, adam in self.adams.items()},
            "traces": {name: trace.state() for name, trace in self.traces.items()},
            "usual": self.usual,
            "usual_seen": self.usual_seen,
            "error": self.error,
            "no_change_error": self.no_change_error,
            "taken_in": self.taken_in,
            "activity": vars(self.activity),
            "remembered_reward": self.remembered_reward,
        }
