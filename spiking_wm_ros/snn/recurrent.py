"""Recurrent LIF networks and what their synapses remember: rules local in space and time.

``R`` realisations (seeds) stand side by side in every array and never meet: each gives, to the bit,
what it gives alone. Each may live several courses of events abreast, ``B``, as rows one after the other
where an array has ``R B`` rows. ``N`` neurons, ``D`` inputs, one tick per environment step (Capone &
Paolucci; eligibility traces as in Bellec et al. 2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from spiking_wm_ros.snn import recurrent_kernels as kernels

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
    share: float = 1.0  # of the inputs that a neuron is connected to, on average
    transient: float = 0.0  # factor on the last change of an input, which is an input then, within +-1
    change_curves: int = 0  # tuning curves by which such changes are seen besides
    curves: int = 0  # tuning curves, in whose place an input that is tuned is seen through
    pairs: int = 0  # tuning curves of the difference of every two tuned inputs, seen besides
    pair_reach: float = 1.0  # difference at which those end


@dataclass
class Activity:
    """State of a network's neurons after a tick, each ``[R B, N]`` where nothing else is said."""

    synaptic: Array  # filtered spikes
    recurrent: Array  # filtered current from other neurons
    potential: Array
    spikes: Array
    readout: Array  # spikes, filtered for what reads them
    trace: Array  # response of the potential to each neuron's synapses
    derivative: Array  # pseudo-derivative of a spike
    input_trace: Array  # response of the potential to what an input weight carries, [R B, rows of those]
    inputs: Array  # of the tick, [R B, D]; infinite before the first

    def copy(self) -> "Activity":
        """The same state, apart."""
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
        self._numbers = tuple(map(np.float32, (*decays, c.rest, c.reset, c.width)))
        self._tuned = tuned if constants.curves else 0
        self._first, self._second = np.triu_indices(tuned, 1) if constants.pairs else ([], [])
        self.weights = _drawn([g.normal(0, neurons**-0.5, shape) for g in generators])
        both = np.sqrt(scale[self._first] * scale[self._second])
        seen = np.repeat(scale[: self._tuned], c.curves), np.repeat(both, c.pairs), scale[self._tuned :]
        changes = [scale, np.repeat(scale, c.change_curves)] if c.transient else []
        scale = np.concatenate([*seen, *changes])
        wide = (len(scale), neurons)
        drawn = [g.normal(0, 1, wide) * (g.random(wide) < constants.share) for g in generators]
        self.input_weights = _drawn([weights * scale[:, None] for weights in drawn])
        if constants.bias:
            bias = _drawn([g.normal(0, constants.bias, (1, neurons)) for g in generators])
            self.input_weights = np.concatenate([self.input_weights, bias], 1)

    def of_synapses(self, gradient: Array) -> Array:
        """A gradient by the input weights, without synapses that there are not (``share``)."""
        return gradient if self.constants.share == 1 else gradient * (self.input_weights != 0)

    def state(self) -> dict[str, np.ndarray]:
        """Its weights, themselves."""
        return {"weights": self.weights, "input_weights": self.input_weights}

    def at_rest(self, abreast: int = 1) -> Activity:
        """Neurons that have not been active yet, of so many courses of events in each realisation."""
        rows, (wide, neurons) = self.weights.shape[0] * abreast, self.input_weights.shape[1:]
        widths = [neurons] * (len(fields(Activity)) - 2) + [wide]
        states = [np.zeros((rows, width), np.float32) for width in widths]
        activity = Activity(*states, np.full((rows, self._inputs), np.inf, np.float32))
        activity.potential[:] = self.constants.start
        return activity

    def tick(self, activity: Activity, inputs: Array) -> Array:
        """Go on by one tick, in place, with inputs ``[R B, D]``; returns the filtered spikes ``[R B, N]``."""
        c, *states = self.constants, *list(vars(activity).values())[:-1]
        current = [tuning_curves(inputs[:, : self._tuned], c.curves)] if self._tuned else []
        if c.pairs:
            apart = inputs[:, self._first] - inputs[:, self._second]
            current.append(tuning_curves(apart / np.float32(c.pair_reach), c.pairs))
        current.append(inputs[:, self._tuned :])
        if c.transient:
            change = np.where(np.isinf(activity.inputs), 0, inputs - activity.inputs)
            current.append((np.float32(c.transient) * change).clip(-1, 1))
            if c.change_curves:
                current.append(tuning_curves(current[-1], c.change_curves))
        if c.bias:
            current.append(np.ones((len(inputs), 1)))
        activity.inputs[:] = inputs
        kernels.lif_tick(
            self.weights,
            self.input_weights,
            np.concatenate(current, 1, dtype=np.float32),
            *states,
            *self._numbers,
        )
        return activity.readout


def tuning_curves(values: Array, count: int) -> Array:
    """Values ``[B, D]``, each by its places on ``count`` Gaussian curves over -1 to 1: ``[B, D count]``.

    The curves are as wide as they are apart; what is below 1 % is 0.
    """
    centres, apart = _places(count), np.float32(2 / max(count - 1, 1))
    responses = np.exp(-0.5 * np.square((values[..., None] - centres) / apart))
    return np.where(responses < 0.01, np.float32(0), responses).reshape(len(values), -1)


@cache
def _places(count: int) -> Array:
    return np.linspace(-1, 1, count, dtype=np.float32)


def by_realisation(rows: Array, weights: Array) -> Array:
    """Rows ``[R B, N]`` times the weights ``[R, N, K]`` of their realisation: ``[R B, K]``."""
    realisations, inputs, outputs = weights.shape
    return np.matmul(rows.reshape(realisations, -1, inputs), weights).reshape(-1, outputs)


class CreditedTrace:
    """A gradient that what comes later may be credited to: ``sum_t delta_t sum_t'<=t d^(t-t') G_t'``.

    Every ``G_t = pre_t post_t^T`` is of rank 1, so a few steps are kept as their factors and folded
    into the decaying trace as one product; memory does not depend on how many steps there are.

    Args:
        shape: of the gradient, ``[R, pre, post]``.
        decay: of the trace per step; 0 credits the last step alone.
        chunk: steps kept as factors.
        abreast: courses of events in each realisation, ``B``; several may not be longer than a chunk.
    """

    def __init__(self, shape: tuple[int, int, int], decay: float, chunk: int = 32, abreast: int = 1):
        realisations, pre, post = shape
        self.decay, self._chunk, self._filled = decay, chunk, np.zeros((), np.int64)
        self._trace, self._gradient = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._abreast, kept = abreast, (realisations, chunk, abreast)
        self._pre, self._post = np.zeros((*kept, pre), np.float32), np.zeros((*kept, post), np.float32)
        self._delta = np.zeros(kept, np.float32)
        # how often a new course of events had begun by each step kept, and by now
        self._course, self._courses = np.zeros(chunk, np.int64), np.zeros((), np.int64)

    def start(self) -> None:
        """Forget the trace (what follows is not credited to what was before), not the gradient."""
        self._courses += 1

    def add(self, pre: Array, post: Array) -> None:
        """Take in this step's factors ``[R B, pre]`` and ``[R B, post]``."""
        if self._filled == self._chunk:
            if self._abreast > 1 and self._course[-1] == self._courses:
                raise ValueError(f"courses abreast may not be longer than a chunk of {self._chunk} steps")
            self._fold()
        at = int(self._filled)
        for kept, factor in ((self._pre[:, at], pre), (self._post[:, at], post)):
            kept[...] = factor.reshape(kept.shape)
        self._delta[:, at] = 0
        self._course[at] = self._courses
        self._filled += 1

    def credit(self, delta: Array) -> None:
        """Credit ``delta [R B]`` to the steps so far."""
        if self._filled:
            self._delta[:, int(self._filled) - 1] += delta.reshape(len(self._delta), -1)
        elif not self._courses:  # all steps are in the trace already
            self._gradient += delta[:, None, None] * self._trace

    def take(self) -> Array:
        """The gradient credited since the last call, ``[R, pre, post]``; good until the next one."""
        self._fold()
        taken, self._gradient = self._gradient, np.zeros_like(self._gradient)
        return taken

    def state(self) -> dict[str, np.ndarray]:
        """The arrays that it goes on from, themselves."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}

    def _fold(self) -> None:
        count, courses = int(self._filled), int(self._courses)
        pre, post, delta = self._pre[:, :count], self._post[:, :count], self._delta[:, :count]
        course, ages = self._course[:count], np.arange(count)
        self._filled[...], self._courses[...] = 0, 0
        later = ages[None] - ages[:, None]  # [added at, credited at]
        reached = (later >= 0) & (course[None] == course[:, None])
        powers = np.where(reached, float(self.decay) ** np.maximum(later, 0), 0.0).astype(np.float32)
        weight = np.stack([powers @ d for d in delta])  # of each step in the gradient
        credited = _products(pre * weight[..., None], post)
        if self._abreast > 1:  # they are over: no trace goes on
            self._gradient += credited
            return
        if not self.decay:
            self._gradient += credited
            self._keep_last(count)
            return
        kept = np.where(course == courses, float(self.decay) ** ages[::-1], 0.0).astype(np.float32)
        added = _products(pre * kept[:, None, None], post)
        reach = np.where(course == 0, float(self.decay) ** (ages + 1), 0.0).astype(np.float32)
        share = np.stack([d[:, 0] @ reach for d in delta])
        decay = np.float32(0.0 if courses else self.decay**count)
        kernels.credit(self._gradient, self._trace, credited, added, share, decay)

    def _keep_last(self, count: int) -> None:
        """The last step may still be credited to."""
        if count:
            for factors in (self._pre, self._post):
                factors[:, 0] = factors[:, count - 1]
            self._delta[:, 0], self._course[0], self._filled[...] = 0, 0, 1


def _products(pre: Array, post: Array) -> Array:
    """``[R, steps, B, pre]`` and ``[R, steps, B, post]``, summed over steps and rows: ``[R, pre, post]``."""
    pre, post = (x.reshape(len(x), -1, x.shape[-1]) for x in (pre, post))
    return np.matmul(pre.transpose(0, 2, 1), post)


class Adam:
    """Adam (Kingma & Ba 2014) on an array of any shape, in place.

    Args:
        values: what it changes.
        rate: learning rate.
        epsilon: added to the root of the mean square.
    """

    def __init__(self, values: Array, rate: float, epsilon: float = 1e-8):
        self.values, self.rate, self.epsilon = values, rate, epsilon
        self.mean, self.square = np.zeros_like(values), np.zeros_like(values)
        self.steps = np.zeros((), np.int64)

    def descend(self, gradient: Array, share: float = 1.0) -> None:
        """One step, or a share of it, against a gradient of the shape of the values."""
        self.steps += 1
        steps = int(self.steps)
        rate = share * self.rate / (1 - 0.9**steps)
        flat = (x.reshape(-1) for x in (self.values, np.ascontiguousarray(gradient), self.mean, self.square))
        numbers = (rate, 0.9, 0.999, 1 / (1 - 0.999**steps), self.epsilon)
        kernels.adam(*flat, *map(np.float32, numbers))

    def state(self) -> dict[str, np.ndarray]:
        """The arrays that it goes on from, themselves."""
        return {"mean": self.mean, "square": self.square, "steps": self.steps}


def _drawn(arrays: Sequence[np.ndarray]) -> Array:
    return np.stack(arrays).astype(np.float32)
