"""A streaming spiking decision transformer, driven by its spikes and compiled by numba.

Equal to `DecisionTransformer.stream`, but neurons that do not fire cost nothing, and those that do add their
weights. Sums are taken in another order, so a neuron right at its threshold may come out differently.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from torch import Tensor, nn

from spiking_wm.agents.spiking_dt.network import Block, Cache, DecisionTransformer, Units
from spiking_wm.neurons.compartments import TAU, THRESHOLD

_RATE, _THRESHOLD, _ZERO, _ONE = map(np.float32, (1 / TAU, THRESHOLD, 0, 1))
_compiled: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": True}


class _Weights(NamedTuple):
    """Parameters of a block: gains and biases of units ``[2, P, N]``, weights ``[inputs, outputs]``."""

    enter: np.ndarray
    ask: np.ndarray
    attending: np.ndarray
    heads: np.ndarray
    of_heads: np.ndarray
    enter_hidden: np.ndarray
    hidden: np.ndarray
    units: np.ndarray
    back: np.ndarray
    code: np.ndarray  # frequencies and phases, [2, H, d / H], or none
    router: np.ndarray  # weights and biases, [H, H + 1], or none


@njit(**_compiled)
def _fire(currents: np.ndarray, units: np.ndarray, epsilon: np.float32, ticks: int) -> np.ndarray:
    """Mean rates ``[P N]`` of LIF neurons for currents ``[P N]``, which are normalised by port."""
    _, ports, neurons = units.shape
    rates = np.empty_like(currents)
    for p in range(ports):
        x, fired = currents[p * neurons : (p + 1) * neurons], rates[p * neurons : (p + 1) * neurons]
        mean, squares = x.mean(), _ZERO
        for n in range(neurons):
            squares += (x[n] - mean) * (x[n] - mean)
        scale = _ONE / np.sqrt(squares / np.float32(neurons) + epsilon)
        for n in range(neurons):
            drive = (x[n] - mean) * scale * units[0, p, n] + units[1, p, n]
            u, count = _ZERO, _ZERO
            for _ in range(ticks):
                u += _RATE * (drive - u)
                if u > _THRESHOLD:
                    count += _ONE
                    u = _ZERO
            fired[n] = count / np.float32(ticks)
    return rates


@njit(**_compiled)
def _add(rates: np.ndarray, weight: np.ndarray, currents: np.ndarray) -> None:
    """Add the weights ``[N, M]`` of neurons that fired to ``currents [M]``."""
    for n in range(len(rates)):
        if rates[n] > _ZERO:
            for m in range(len(currents)):
                currents[m] += rates[n] * weight[n, m]


@njit(**_compiled)
def _attend(
    query: np.ndarray, keys: np.ndarray, values: np.ndarray, steps: np.ndarray, step: int, context: int
) -> np.ndarray:
    """What heads find, ``[H, D]``, for a query ``[H, D]`` among ``keys [H, m, D]`` of steps ``[m]``."""
    heads, tokens, width = keys.shape
    found = np.zeros((heads, width), np.float32)
    for h in range(heads):
        for m in range(tokens):
            if step - steps[m] < context:
                together = _ZERO
                for n in range(width):
                    together += query[h, n] * keys[h, m, n]
                if together > _ZERO:
                    for n in range(width):
                        found[h, n] += together / np.float32(width) * values[h, m, n]
    return found


@njit(**_compiled)
def _route(found: np.ndarray, router: np.ndarray) -> None:
    """Gate what every head found, ``[H, D]``, by what all of them found."""
    heads = len(found)
    sums = np.array([found[h].sum() for h in range(heads)])
    for h in range(heads):
        opened = router[h, heads]
        for k in range(heads):
            opened += router[h, k] * sums[k]
        found[h] /= _ONE + np.exp(-opened)


@njit(**_compiled)
def _block(
    x: np.ndarray,
    new: int,
    keys: np.ndarray,
    values: np.ndarray,
    steps: np.ndarray,
    context: int,
    epsilon: np.float32,
    ticks: int,
    w: _Weights,
) -> None:
    """Change a token ``x [d]``, the ``new``-th, as a block does; its key and value are filled in."""
    heads, _, size = keys.shape
    currents = np.zeros(3 * len(x), np.float32)
    _add(_fire(x, w.enter, epsilon, ticks), w.ask, currents)
    attending = _fire(currents, w.attending, epsilon, ticks).reshape(3, heads, size)
    query = attending[0]
    keys[:, new], values[:, new] = attending[1], attending[2]
    if w.code.shape[1]:
        for h in range(heads):
            for n in range(size):
                if np.sin(np.float32(steps[new]) * w.code[0, h, n] + w.code[1, h, n]) <= _ZERO:
                    query[h, n] = keys[h, new, n] = _ZERO
    found = _attend(query, keys[:, : new + 1], values[:, : new + 1], steps, steps[new], context)
    if len(w.router):
        _route(found, w.router)
    _add(_fire(found.reshape(heads * size), w.heads, epsilon, ticks), w.of_heads, x)
    inner = np.zeros(w.hidden.shape[1], np.float32)
    _add(_fire(x, w.enter_hidden, epsilon, ticks), w.hidden, inner)
    _add(_fire(inner, w.units, epsilon, ticks), w.back, x)


@njit(**_compiled)
def _stream(
    x: np.ndarray,
    seen: int,
    keys: np.ndarray,
    values: np.ndarray,
    steps: np.ndarray,
    context: int,
    epsilon: np.float32,
    ticks: int,
    blocks: tuple[_Weights, ...],
    leave: np.ndarray,
) -> np.ndarray:
    """Rates of the last units for the last of tokens ``x [n, d]``, which come after ``seen`` ones."""
    for n in range(len(x)):
        for layer in range(len(blocks)):
            _block(x[n], seen + n, keys[layer], values[layer], steps, context, epsilon, ticks, blocks[layer])
    return _fire(x[-1], leave, epsilon, ticks)


class EventDrivenTransformer:
    """A spiking decision transformer for acting.

    Args:
        network: what it acts as; its weights are copied.
    """

    def __init__(self, network: DecisionTransformer):
        self._options = network.options
        self._blocks = tuple(_weights(block) for block in network.blocks)
        leave = network.leave
        assert isinstance(leave, Units)
        self._leave, self._epsilon = _units(leave), np.float32(leave.norm.epsilon)

    def stream(self, x: Tensor, step: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """As `DecisionTransformer.stream`."""
        o, kept = self._options, int((cache.steps <= step[0] - self._options.context).sum())
        seen, new = len(cache.steps) - kept, len(step)
        keys, values = (
            np.empty((o.layers, o.heads, seen + new, o.width // o.heads), np.float32) for _ in range(2)
        )
        keys[:, :, :seen], values[:, :, :seen] = (
            cache.keys.numpy()[:, :, kept:],
            cache.values.numpy()[:, :, kept:],
        )
        steps = np.concatenate([cache.steps.numpy()[kept:], step.numpy()])
        rates = _stream(
            x.numpy().copy(),
            seen,
            keys,
            values,
            steps,
            o.context,
            self._epsilon,
            o.ticks,
            self._blocks,
            self._leave,
        )
        return torch.from_numpy(rates), Cache(*map(torch.from_numpy, (keys, values, steps)))


def _array(x: Tensor) -> np.ndarray:
    return np.ascontiguousarray(x.detach().numpy())


def _units(units: nn.Module) -> np.ndarray:
    assert isinstance(units, Units)
    return np.stack([_array(units.norm.gain), _array(units.norm.bias)])


def _weights(block: Block) -> _Weights:
    none = np.zeros((2, 0, 0), np.float32)
    code, router = block.code, block.router
    return _Weights(
        enter=_units(block.enter),
        ask=_array(block.of_query_key_value.weight.T),
        attending=_units(block.attending),
        heads=_units(block.heads),
        of_heads=_array(block.of_heads.weight.T),
        enter_hidden=_units(block.enter_hidden),
        hidden=_array(block.hidden.weight.T),
        units=_units(block.units),
        back=_array(block.back.weight.T),
        code=np.stack([_array(code.frequency), _array(code.phase)]) if code else none,
        router=_array(torch.cat([router.weight, router.bias[:, None]], 1)) if router else none[0],
    )
