"""The model network: predicts changes of the observation and rewards, and learns online from its errors."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from spiking_wm.agents.rsnn.changes import BinnedChange, MeanChange
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.neurons.plasticity import Adam, CreditedTrace
from spiking_wm.neurons.recurrent import Activity, Array, RecurrentNetwork, by_realisation

_FORGET = np.float32(0.001)  # per step, of running means
_FIRST = 20  # number of first changes that are never taken for resets
_STILL = 1e-6  # smaller changes of an input count as 0


class Prediction(NamedTuple):
    """Prediction of one step."""

    change: Array  # of the inputs, in units, [R B, D]
    outputs: Array  # of the read-out that changes are predicted by
    reward: Array  # leaky sum of rewards, [R B]
    last_change: Array  # of the inputs, as observed, [R B, D]


class Model:
    """World models of ``R`` realisations (paper, eq. 4 and 5).

    Args:
        generators: one per realisation.
        inputs, actions: widths of the observation and of the action code, ``D`` and ``A``.
        options: constants.
    """

    def __init__(
        self, generators: Sequence[np.random.Generator], inputs: int, actions: int, options: Options
    ):
        o, realisations = options.model, len(generators)
        self.options = options
        scale = inputs * [o.input_scale] + actions * [o.action_scale]
        self.network = RecurrentNetwork(generators, scale, o.neurons, options.model_constants(), inputs)
        self._changes = BinnedChange(o.bins, o.bin_reach) if o.bins else MeanChange()
        self.change = np.zeros((realisations, o.neurons, inputs * self._changes.width), np.float32)
        self.reward = np.zeros((realisations, o.neurons, 1), np.float32)
        weights = {"recurrent": self.network.weights, "change": self.change, "reward": self.reward}
        if o.input_lr:
            weights["input"] = self.network.input_weights
        rates = {"recurrent": o.lr, "input": o.input_lr, "change": o.change_lr, "reward": o.reward_lr}
        there = {"input": self.network.synapses}
        self.adams = {n: Adam(array, rates[n], 1e-5, there.get(n)) for n, array in weights.items()}
        self.traces = {name: CreditedTrace(a.shape, 0.0, o.every + 1) for name, a in weights.items()}
        # running mean size of changes, and how many there were
        self.usual, self.usual_seen = np.zeros((2, realisations, inputs), np.float32)
        self.error, self.no_change_error = np.zeros((2, realisations), np.float32)
        self.steps = np.zeros((), np.int64)
        self.begin()

    def begin(self) -> None:
        """Start an episode."""
        self.activity = self.network.at_rest()
        self.leaky_reward: Array = np.zeros(len(self.change), np.float32)

    def unit(self) -> Array:
        """The unit of changes, ``[R, D]``: `model.change_unit`, or the running mean of their size."""
        if self.options.model.change_unit:
            return np.full_like(self.usual, self.options.model.change_unit)
        return np.where(self.usual > _STILL, self.usual, np.float32(1))

    def predict(
        self, activity: Activity, observation: Array, code: Array, learning: bool = False
    ) -> Prediction:
        """Predict the step after inputs ``[R B, D]`` and action codes ``[R B, A]``.

        Advances ``activity`` by one tick. With ``learning``, `correct` may be called afterwards.
        """
        last = activity.inputs[:, : observation.shape[1]]
        last_change = np.where(np.isinf(last), np.float32(0), observation - last)
        spikes = self.network.tick(activity, np.concatenate([observation, code], 1), learning)
        outputs, reward = by_realisation(spikes, self.change), by_realisation(spikes, self.reward)
        return Prediction(self._changes.change(outputs), outputs, reward[:, 0], last_change)

    def shuffle(self, generators: Sequence[np.random.Generator]) -> Callable[[], None]:
        """Shuffle the read-outs over neurons; returns a function that restores them."""
        orders = [generator.permutation(self.options.model.neurons) for generator in generators]

        def reorder(inverse: bool) -> None:
            for row, order in enumerate(orders):
                order = np.argsort(order) if inverse else order
                self.change[row], self.reward[row] = self.change[row][order], self.reward[row][order]

        reorder(inverse=False)
        return lambda: reorder(inverse=True)

    def after(self, observation: Array, prediction: Prediction) -> tuple[Array, Array]:
        """Predicted inputs ``[R B, D]``, and rewards ``[R B]``."""
        o = self.options.model
        reward = prediction.reward * np.float32(1 - o.reward_decay)
        reward = np.where(np.abs(reward) < self.options.dream.min_reward, np.float32(0), reward)
        unit = np.repeat(self.unit(), len(observation) // len(self.usual), 0)
        change = prediction.change * unit
        if o.min_acceleration:
            steady = np.abs(change - prediction.last_change) < np.float32(o.min_acceleration) * unit
            change = np.where(steady, prediction.last_change, change)
        return observation + change, reward

    def correct(self, prediction: Prediction, observation: Array, following: Array, reward: Array) -> None:
        """Learn from the real step after the last prediction by `activity`.

        Args:
            prediction: the last prediction.
            observation, following: inputs before and after the step, ``[R, D]``.
            reward: reward of the step, ``[R]``.
        """
        o, a = self.options.model, self.activity
        change = self._in_units(following - observation)
        self.leaky_reward = np.float32(o.reward_decay) * self.leaky_reward + reward
        score = self._changes.score(change, prediction.outputs)
        reward_error = (self.leaky_reward - prediction.reward)[:, None]
        self.error += _FORGET * (np.square(change - prediction.change).mean(1) - self.error)
        self.no_change_error += _FORGET * (np.square(change).mean(1) - self.no_change_error)
        learning = by_realisation(score, self.change.transpose(0, 2, 1))
        learning += np.float32(o.reward_weight) * reward_error * self.reward[..., 0]
        learning *= a.derivative
        self.traces["recurrent"].add(a.trace, learning)
        if "input" in self.traces:
            self.traces["input"].add(a.input_trace, learning)
        self.traces["change"].add(a.readout, score)
        self.traces["reward"].add(a.readout, reward_error)
        ones = np.ones(len(reward), np.float32)
        for trace in self.traces.values():
            trace.credit(ones)
        self.steps += 1
        learns = not o.stop_after or self.steps <= o.stop_after
        if learns and self.steps % o.every == 0:
            for name, adam in self.adams.items():
                adam.ascend(self.traces[name].take())

    def _in_units(self, moved: Array) -> Array:
        """Changes in units; those above `model.max_change` are resets of the game, and 0."""
        size, first = np.abs(moved), self.usual_seen < _FIRST
        largest = np.where(first, np.inf, self.options.model.max_change * self.unit()).astype(np.float32)
        moves = size > _STILL  # ignore inputs at rest in the mean size of changes
        self.usual_seen += moves
        weight = np.maximum(1 / np.maximum(self.usual_seen, 1), _FORGET)
        self.usual += np.where(moves, weight * (np.minimum(size, largest) - self.usual), np.float32(0))
        return np.where(size <= largest, moved / self.unit(), np.float32(0))

    def relative_error(self) -> Array:
        """Running squared error of predicted changes, relative to predicting no change, ``[R]``."""
        smallest: Array = np.maximum(self.no_change_error, np.float32(1e-6))
        return self.error / smallest

    def state(self) -> dict[str, Any]:
        """The arrays of its state (not copies)."""
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
            "taken_in": self.steps,
            "activity": vars(self.activity),
            "remembered_reward": self.leaky_reward,
        }
