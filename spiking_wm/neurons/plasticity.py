"""Eligibility traces (gradients from quantities local to a synapse), and gradient ascent with Adam.

``R`` realisations (seeds), each with ``B`` parallel trajectories, as in `neurons.recurrent`.
"""

import numpy as np
from numpy.typing import NDArray

from spiking_wm.neurons import recurrent_kernels as kernels
from spiking_wm.neurons.recurrent import Array


class CreditedTrace:
    """Gradient with delayed credit: ``sum_t delta_t sum_t'<=t d^(t-t') G_t'``, where ``delta`` is the credit.

    Every ``G_t = pre_t post_t^T`` has rank 1, so a chunk of steps is stored as factors and added to the
    decaying trace as one product. Memory does not grow with the number of steps.

    Args:
        shape: shape of the gradient, ``[R, pre, post]``.
        decay: decay factor ``d`` of the trace per step; 0 credits only the last step.
        chunk: number of steps stored as factors.
        abreast: parallel trajectories per realisation, ``B``; if more than one, at most ``chunk`` steps long.
    """

    def __init__(self, shape: tuple[int, int, int], decay: float, chunk: int = 128, abreast: int = 1):
        realisations, pre, post = shape
        self.decay, self._chunk, self._filled = decay, chunk, np.zeros((), np.int64)
        self._trace, self._gradient, self._taken = (np.zeros(shape, np.float32) for _ in range(3))
        # False: the array counts as 0, whatever it contains (filling large arrays is slow)
        self._traced, self._credited = np.zeros((), bool), np.zeros((), bool)
        self._abreast, kept = abreast, (realisations, chunk, abreast)
        self._pre, self._post = np.zeros((*kept, pre), np.float32), np.zeros((*kept, post), np.float32)
        self._delta = np.zeros(kept, np.float32)
        # number of the trajectory of each stored step, and of the current one
        self._course, self._courses = np.zeros(chunk, np.int64), np.zeros((), np.int64)

    def start(self) -> None:
        """Start a new trajectory: earlier steps get no more credit. The gradient so far is kept."""
        self._courses += 1

    def add(self, pre: Array, post: Array) -> None:
        """Add a step, given its factors ``[R B, pre]`` and ``[R B, post]``."""
        if self._filled == self._chunk:
            if self._abreast > 1 and self._course[-1] == self._courses:
                raise ValueError(f"parallel trajectories may have at most {self._chunk} steps (one chunk)")
            self._fold()
        at = int(self._filled)
        for kept, factor in ((self._pre[:, at], pre), (self._post[:, at], post)):
            kept[...] = factor.reshape(kept.shape)
        self._delta[:, at] = 0
        self._course[at] = self._courses
        self._filled += 1

    def credit(self, delta: Array) -> None:
        """Give credit ``delta [R B]`` to the steps so far."""
        if self._filled:
            self._delta[:, int(self._filled) - 1] += delta.reshape(len(self._delta), -1)
        elif self._traced and not self._courses:  # all steps are already in the trace
            self._credit(delta[:, None, None] * self._trace)

    def take(self) -> Array:
        """The gradient credited since the last call, ``[R, pre, post]``; valid until the next call."""
        self._fold()
        if not self._credited:
            self._gradient[...] = 0
        self._credited[...] = False
        self._taken, self._gradient = self._gradient, self._taken
        return self._taken

    def state(self) -> dict[str, np.ndarray]:
        """The arrays of its state (not copies)."""
        for array, used in ((self._gradient, self._credited), (self._trace, self._traced)):
            if not used:
                array[...] = 0
        state = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return {name: value for name, value in state.items() if name != "_taken"}

    def _fold(self) -> None:
        count, courses = int(self._filled), int(self._courses)
        pre, post, delta = self._pre[:, :count], self._post[:, :count], self._delta[:, :count]
        course, ages = self._course[:count], np.arange(count)
        self._filled[...], self._courses[...] = 0, 0
        if not count:
            self._traced &= not courses
            return
        later = ages[None] - ages[:, None]  # [added at, credited at]
        reached = (later >= 0) & (course[None] == course[:, None])
        powers = np.where(reached, float(self.decay) ** np.maximum(later, 0), 0.0).astype(np.float32)
        weight = np.stack([powers @ d for d in delta])  # weight of each step in the gradient
        self._credit_products(pre * weight[..., None], post)
        if self._abreast > 1:  # the trajectories have ended: no trace continues
            return
        if not self.decay:
            self._keep_last(count)
            return
        if self._traced:
            reach = np.where(course == 0, float(self.decay) ** (ages + 1), 0.0).astype(np.float32)
            share = np.stack([d[:, 0] @ reach for d in delta])
            self._credit(share[:, None, None] * self._trace)
        if courses > course.max(initial=0):
            self._traced[...] = False  # the trajectory has ended: no trace continues
            return
        kept = np.where(course == courses, float(self.decay) ** ages[::-1], 0.0).astype(np.float32)
        grown = _products(pre * kept[:, None, None], post)
        if self._traced and not courses:
            grown += np.float32(self.decay**count) * self._trace
        self._trace[...], self._traced[...] = grown, True

    def _credit(self, gradient: Array) -> None:
        if self._credited:
            self._gradient += gradient
        else:
            self._gradient[...] = gradient
        self._credited[...] = True

    def _credit_products(self, pre: Array, post: Array) -> None:
        if self._credited:
            self._gradient += _products(pre, post)
        else:
            _products(pre, post, self._gradient)
        self._credited[...] = True

    def _keep_last(self, count: int) -> None:
        """Keep the last step, which may still get credit."""
        for factors in (self._pre, self._post):
            factors[:, 0] = factors[:, count - 1]
        self._delta[:, 0], self._course[0], self._filled[...] = 0, 0, 1


def _products(pre: Array, post: Array, total: Array | None = None) -> Array:
    """Sum of outer products of ``[R, steps, B, pre]`` and ``[R, steps, B, post]``: ``[R, pre, post]``."""
    pre, post = (x.reshape(len(x), -1, x.shape[-1]) for x in (pre, post))
    return np.matmul(pre.transpose(0, 2, 1), post, out=total)


class Adam:
    """Adam (Kingma & Ba 2014) on an array of any shape, in place.

    Args:
        values: the array that is updated.
        rate: learning rate.
        epsilon: added to the root of the mean square.
        synapses: flat indices of the learned values in each realisation, ``[R, S]``; None: all values.
    """

    def __init__(
        self,
        values: Array,
        rate: float,
        epsilon: float = 1e-8,
        synapses: NDArray[np.int32] | None = None,
    ):
        self.values, self.rate, self.epsilon, self.synapses = values, rate, epsilon, synapses
        self.mean, self.square = np.zeros((2, *(values if synapses is None else synapses).shape), np.float32)
        self.steps = np.zeros((), np.int64)

    def ascend(self, gradient: Array, share: float = 1.0) -> None:
        """One step of gradient ascent, scaled by ``share``; the gradient has the shape of the values."""
        self.steps += 1
        steps = int(self.steps)
        rate = share * self.rate / (1 - 0.9**steps)
        numbers = map(np.float32, (rate, 0.9, 0.999, 1 / (1 - 0.999**steps), self.epsilon))
        arrays = [self.values, np.ascontiguousarray(gradient), self.mean, self.square]
        if self.synapses is None:
            kernels.adam(*(array.reshape(-1) for array in arrays), *numbers)
        else:
            rows = (array.reshape(len(self.synapses), -1) for array in arrays)
            kernels.adam_at(self.synapses, *rows, *numbers)

    def state(self) -> dict[str, np.ndarray]:
        """The arrays of its state (not copies)."""
        state = {"mean": self.mean, "square": self.square, "steps": self.steps}
        return state if self.synapses is None else state | {"synapses": self.synapses}
