"""Recurrent LIF networks, with the traces for plasticity that is local in space and time.

``R`` realisations (seeds) are side by side in every array and independent: each gives, to the bit,
what it gives alone. Each may live several courses of events side by side, ``B``: arrays with ``R B`` rows
hold those of a realisation one after the other. ``N`` neurons, ``D`` inputs, one tick per environment
step (Capone & Paolucci; eligibility traces as in Bellec et al. 2020).
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
    share: float = 1.0  # of the inputs that a neuron is connected to
    transient: float = 0.0  # factor on the last change of an input, which is an input then, within +-1
    change_curves: int = 0  # tuning curves by which such changes are seen besides
    curves: int = 0  # tuning curves, in whose place an input that is tuned is seen through
    pairs: int = 0  # tuning curves of the difference of every two tuned inputs, seen besides
    pair_reach: float = 1.0  # difference at which those end


@dataclass
class Activity:
    """State of a network's neurons after a tick, each ``[R B, N]`` where nothing else is said."""

    synaptic: Array  # filtered spikes, for the trace
    recurrent: Array  # filtered current from other neurons
    potential: Array
    spikes: Array
    readout: Array  # spikes, filtered for what reads them
    trace: Array  # response of the potential to each neuron's synapses
    derivative: Array  # pseudo-derivative of a spike
    input_trace: Array  # response of the potential to what an input weight carries, [R B, rows of those]
    inputs: Array  # of the tick, [R B, D]; infinite before the first

    def copy(self) -> "Activity":
        """A copy."""
        return replace(self, **{name: value.copy() for name, value in vars(self).items()})


class RecurrentNetwork:
    """LIF neurons with weights from each to each; their `Activity` is the caller's.

    Per tick (paper, eq. 1-3): ``synaptic`` filters the spikes of the tick before; ``potential`` leaks
    and integrates the recurrent current, the input current and ``rest``, less ``reset`` for a spike;
    ``spikes`` are where it exceeds 0; ``readout`` filters them. With ``transient`` the input current has a
    second part, from the change of each input since the tick before, by weights of its own. Each spike
    adds to the recurrent current by the weights of its tick, so weights may change in mid-activity.

    Args:
        generators: one per realisation.
        input_scale: standard deviation of each input's weights, ``[D]``.
        neurons: ``N``.
        constants: of the neurons.
        tuned: how many inputs, the first ones, are seen through ``curves`` if there are any.
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
        # where, in the flat input weights of each realisation, synapses are, [R, S]; None: everywhere
        self.synapses = None
        if constants.share < 1:
            self.synapses = np.stack([np.flatnonzero(mask) for mask in there]).astype(np.int32)

    def state(self) -> dict[str, np.ndarray]:
        """Its weights, not copied."""
        return {"weights": self.weights, "input_weights": self.input_weights}

    def at_rest(self, abreast: int = 1) -> Activity:
        """The state at the start of an episode, for ``abreast`` courses of events in each realisation."""
        rows, (wide, neurons) = self.weights.shape[0] * abreast, self.input_weights.shape[1:]
        widths = [neurons] * (len(fields(Activity)) - 2) + [wide]
        states = [np.zeros((rows, width), np.float32) for width in widths]
        states.append(np.full((rows, self._inputs), np.inf, np.float32))
        activity = Activity(*states)
        activity.potential[:] = self.constants.start
        return activity

    def tick(self, activity: Activity, inputs: Array, learning: bool = True) -> Array:
        """Go on by one tick, in place, with inputs ``[R B, D]``; returns the filtered spikes ``[R B, N]``.

        Without ``learning``, the traces for plasticity stay as they were.
        """
        *states, last = vars(activity).values()
        seen = self._see(inputs, last)
        last[:] = inputs
        kernels.lif_tick(self.weights, self.input_weights, seen, *states, learning, *self.numbers)
        probe.fired(activity.spikes[None])
        return activity.readout

    def currents(self, activity: Activity, inputs: Array) -> Array:
        """What inputs ``[R B, D]`` and the potential at rest add to potentials in a tick, ``[R B, N]``."""
        decay, _, _, rest, *_ = self.numbers
        return (1 - decay) * (by_realisation(self._see(inputs, activity.inputs), self.input_weights) + rest)

    def take_spikes(self, activity: Activity, inputs: Array, spikes: Array) -> Array:
        """Go on as `tick`, with spikes ``[R B, N]`` of neurons that run on a chip; potentials stay."""
        readout_decay = self.numbers[2]
        activity.inputs[:], activity.spikes[:] = inputs, spikes
        activity.readout[:] = readout_decay * activity.readout + (1 - readout_decay) * spikes
        return activity.readout

    def _see(self, inputs: Array, last: Array) -> Array:
        """What the input weights carry, ``[R B, rows of those]``."""
        seen = np.empty((len(inputs), self.input_weights.shape[1]), np.float32)
        kernels.see(np.ascontiguousarray(inputs, np.float32), last, *self._seen_by, seen)
        return seen


def by_realisation(rows: Array, weights: Array) -> Array:
    """Rows ``[R B, N]`` times the weights ``[R, N, K]`` of their realisation: ``[R B, K]``."""
    realisations, inputs, outputs = weights.shape
    return np.matmul(rows.reshape(realisations, -1, inputs), weights).reshape(-1, outputs)


def _drawn(arrays: Sequence[np.ndarray]) -> Array:
    return np.stack(arrays).astype(np.float32)
