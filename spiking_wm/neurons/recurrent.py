"""Recurrent LIF networks with eligibility traces for local plasticity.

Every array contains ``R`` realisations (seeds). They are independent: the results of each are bit-identical
to those of a run of this seed alone. Each may have ``B`` parallel trajectories: arrays with ``R B`` rows
contain those of the first realisation, then those of the second, and so on. ``N`` neurons, ``D`` inputs, one
tick per environment step (Capone & Paolucci; eligibility traces as in Bellec et al. 2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from spiking_wm.neurons import probe
from spiking_wm.neurons import recurrent_kernels as kernels

Array = NDArray[np.float32]


@dataclass(frozen=True)
class NeuronConstants:
    """Time constants in ticks, potentials relative to the threshold."""

    membrane_time: float = 6.0
    synapse_time: float = 4.0
    readout_time: float = 1.0
    rest: float = -8.0
    start: float = -4.0
    reset: float = 100.0
    width: float = 1.0
    bias: float = 0.0  # standard deviation of a constant current into each neuron
    share: float = 1.0  # share of the inputs that each neuron is connected to
    transient: float = 0.0  # gain of additional inputs, the changes since the last tick (clipped to +-1)
    change_curves: int = 0  # tuning curves per change, as additional inputs
    curves: int = 0  # tuning curves that replace each tuned input
    pairs: int = 0  # tuning curves of the difference of every two tuned inputs, as additional inputs
    pair_reach: float = 1.0  # largest difference covered by these curves


@dataclass
class Activity:
    """State of a network's neurons after a tick; arrays are ``[R B, N]`` unless stated otherwise."""

    synaptic: Array  # filtered spikes, for the eligibility trace
    recurrent: Array  # filtered current from other neurons
    potential: Array
    spikes: Array
    readout: Array  # spikes, filtered for the read-out
    trace: Array  # response of the potential to each neuron's synapses
    derivative: Array  # pseudo-derivative of a spike
    input_trace: Array  # response of the potential to the input features, [R B, features]
    inputs: Array  # inputs of the tick, [R B, D]; infinite before the first tick

    def copy(self) -> "Activity":
        """A copy."""
        return replace(self, **{name: value.copy() for name, value in vars(self).items()})


class RecurrentNetwork:
    """Fully connected recurrent LIF neurons. The caller keeps their `Activity`.

    Per tick (paper, eq. 1-3): ``synaptic`` filters the spikes of the previous tick; ``potential`` leaks and
    integrates the recurrent current, the input current and ``rest``, minus ``reset`` after a spike; a neuron
    spikes if its potential exceeds 0; ``readout`` filters the spikes. With ``transient``, the changes of the
    inputs since the previous tick are additional inputs with their own weights. A spike adds to the recurrent
    current with the weights at its tick, so weights may change at any time.

    Args:
        generators: random generators, one per realisation.
        input_scale: standard deviation of each input's weights, ``[D]``.
        neurons: ``N``.
        constants: constants of the neurons.
        tuned: number of first inputs that are replaced by tuning curves, if ``constants.curves`` is not 0.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        input_scale: Sequence[float],
        neurons: int,
        constants: NeuronConstants,
        tuned: int = 0,
    ):
        shape, scale = (neurons, neurons), np.asarray(input_scale)
        self.constants, self._inputs, c = constants, len(scale), constants
        decays = (np.exp(-1 / time) for time in (c.membrane_time, c.synapse_time, c.readout_time))
        self.numbers = tuple(map(np.float32, (*decays, c.rest, c.reset, c.width)))
        first, second = np.triu_indices(tuned if c.pairs else 0, 1)
        tuned = tuned if c.curves else 0
        reach, transient = np.float32(c.pair_reach), np.float32(c.transient)
        self._seen_by = (tuned, c.curves, first, second, c.pairs, reach, transient, c.change_curves)
        self.weights = _drawn([g.normal(0, neurons**-0.5, shape) for g in generators])
        both = np.sqrt(scale[first] * scale[second])
        seen = np.repeat(scale[:tuned], c.curves), np.repeat(both, c.pairs), scale[tuned:]
        changes = [scale, np.repeat(scale, c.change_curves)] if c.transient else []
        scale = np.concatenate([*seen, *changes])
        wide = (len(scale), neurons)
        fan_in, weights, there = max(round(constants.share * len(scale)), 1), [], []
        for g in generators:
            weights.append(g.normal(0, 1, wide) * scale[:, None])
            there.append(g.random(wide).argsort(0).argsort(0) < fan_in)
            if constants.bias:
                weights[-1] = np.vstack([weights[-1], g.normal(0, constants.bias, (1, neurons))])
                there[-1] = np.vstack([there[-1], np.ones((1, neurons), bool)])
        self.input_weights = _drawn(weights) * there
        # flat indices of existing synapses in the input weights, [R, S]; None: all exist
        self.synapses = None
        if constants.share < 1:
            self.synapses = np.stack([np.flatnonzero(mask) for mask in there]).astype(np.int32)

    def state(self) -> dict[str, np.ndarray]:
        """The weights (not copies)."""
        return {"weights": self.weights, "input_weights": self.input_weights}

    def at_rest(self, abreast: int = 1) -> Activity:
        """The state at the start of an episode, for ``abreast`` trajectories per realisation."""
        rows, (wide, neurons) = self.weights.shape[0] * abreast, self.input_weights.shape[1:]
        widths = [neurons] * (len(fields(Activity)) - 2) + [wide]
        states = [np.zeros((rows, width), np.float32) for width in widths]
        states.append(np.full((rows, self._inputs), np.inf, np.float32))
        activity = Activity(*states)
        activity.potential[:] = self.constants.start
        return activity

    def tick(self, activity: Activity, inputs: Array, learning: bool = True) -> Array:
        """Run one tick, in place, with inputs ``[R B, D]``; returns the filtered spikes ``[R B, N]``.

        Without ``learning``, the eligibility traces are not updated.
        """
        *states, last = vars(activity).values()
        seen = self._see(inputs, last)
        last[:] = inputs
        kernels.lif_tick(self.weights, self.input_weights, seen, *states, learning, *self.numbers)
        probe.fired(activity.spikes[None])
        return activity.readout

    def currents(self, activity: Activity, inputs: Array) -> Array:
        """Change of potentials in a tick by inputs ``[R B, D]`` and the rest potential, ``[R B, N]``."""
        decay, _, _, rest, *_ = self.numbers
        return (1 - decay) * (by_realisation(self._see(inputs, activity.inputs), self.input_weights) + rest)

    def take_spikes(self, activity: Activity, inputs: Array, spikes: Array) -> Array:
        """As `tick`, with spikes ``[R B, N]`` of neurons on a chip; potentials are not updated."""
        readout_decay = self.numbers[2]
        activity.inputs[:], activity.spikes[:] = inputs, spikes
        activity.readout[:] = readout_decay * activity.readout + (1 - readout_decay) * spikes
        return activity.readout

    def _see(self, inputs: Array, last: Array) -> Array:
        """Input features (inputs, tuning curves, changes), ``[R B, features]``."""
        seen = np.empty((len(inputs), self.input_weights.shape[1]), np.float32)
        kernels.see(np.ascontiguousarray(inputs, np.float32), last, *self._seen_by, seen)
        return seen


def by_realisation(rows: Array, weights: Array) -> Array:
    """Rows ``[R B, N]`` times the weights ``[R, N, K]`` of their realisation: ``[R B, K]``."""
    realisations, inputs, outputs = weights.shape
    return np.matmul(rows.reshape(realisations, -1, inputs), weights).reshape(-1, outputs)


def _drawn(arrays: Sequence[np.ndarray]) -> Array:
    return np.stack(arrays).astype(np.float32)
