"""Loops of recurrent LIF networks with local plasticity, compiled by numba and cached on disk.

Every realisation is a loop of its own, so that many side by side give what each gives alone.
"""

import numpy as np
from numba import njit

_ONE, _ZERO = np.float32(1), np.float32(0)
_rows, _cube = "f4[:,::1]", "f4[:,:,::1]"
# divisions by 0 are as numpy's: to raise an error for them, loops could not run on vectors
_compiled = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit("f4(f4)", inline="always", **_compiled)
def _exp(x):
    """``e^x`` for x <= 0, to 4e-4 of itself above -20, 1e-8 below; loops that call it run on vectors."""
    x = max(x, np.float32(-20)) / np.float32(256)
    z = _ONE + x * (_ONE + x * (np.float32(1 / 2) + x * np.float32(1 / 6)))
    for _ in range(8):
        z *= z
    return z


@njit(f"void(f4[::1],{_rows},f4[::1],f4,i8[::1])", **_compiled)
def _add_rows(total, weights, factors, factor, found):
    """``total += factor factors @ weights``; reads rows of factors that are not 0 only, four at a time."""
    count = 0
    for j in range(len(factors)):
        if factors[j] != _ZERO:
            found[count] = j
            count += 1
    whole = count - count % 4
    for k in range(0, whole, 4):
        g, h, i, j = found[k], found[k + 1], found[k + 2], found[k + 3]
        a, b, c, d = factor * factors[g], factor * factors[h], factor * factors[i], factor * factors[j]
        first, second, third, fourth = weights[g], weights[h], weights[i], weights[j]
        for n in range(len(total)):
            total[n] += a * first[n] + b * second[n] + c * third[n] + d * fourth[n]
    for k in range(whole, count):
        a, row = factor * factors[found[k]], weights[found[k]]
        for n in range(len(total)):
            total[n] += a * row[n]


@njit("void(f4,i8,f4[::1],i8)", inline="always", **_compiled)
def _tune(value, count, row, first):
    """Responses of ``count`` Gaussian curves over -1 to 1 to a value, into ``row`` from ``first`` on.

    The curves are as wide as they are apart; responses below 1 % are 0.
    """
    apart = np.float32(2 / max(count - 1, 1))
    reach = np.float32((2 * np.log(100)) ** 0.5)  # in widths
    place = (value + _ONE) / apart
    for k in range(count):
        row[first + k] = _ZERO
    last = min(np.floor(place + reach), np.float32(count - 1))
    for k in range(int(max(np.ceil(place - reach), _ZERO)), int(last) + 1):
        z = np.float32(k) - place
        row[first + k] = np.exp(np.float32(-0.5) * z * z)


@njit(f"void({_rows},{_rows},i8,i8,i8[::1],i8[::1],i8,f4,f4,i8,{_rows})", **_compiled)
def see(inputs, last, tuned, curves, first, second, pairs, pair_reach, transient, change_curves, seen):
    """What input weights carry of ``inputs [B, D]`` and those of the tick before, into ``seen [B, ...]``.

    By groups: the first ``tuned`` inputs through ``curves``, differences of ``first`` and ``second`` ones
    through ``pairs`` curves that end at ``pair_reach``, the other inputs; with ``transient``, as many times
    the change of each within +-1, and that through ``change_curves``; a bias of 1 if there is room.
    """
    for b in range(len(inputs)):
        x, before, row, at = inputs[b], last[b], seen[b], 0
        for d in range(tuned):
            _tune(x[d], curves, row, at)
            at += curves
        for k in range(len(first)):
            _tune((x[first[k]] - x[second[k]]) / pair_reach, pairs, row, at)
            at += pairs
        for d in range(tuned, len(x)):
            row[at] = x[d]
            at += 1
        if transient > _ZERO:
            for d in range(len(x)):
                change = _ZERO if np.isinf(before[d]) else x[d] - before[d]
                row[at + d] = min(max(transient * change, -_ONE), _ONE)
            changes = row[at : at + len(x)]
            at += len(x)
            if change_curves > 0:
                for d in range(len(x)):
                    _tune(changes[d], change_curves, row, at)
                    at += change_curves
        row[at:] = _ONE


@njit(
    f"void({_cube},{_cube},{','.join(9 * [_rows])},b1,f4,f4,f4,f4,f4,f4)",
    **_compiled,
)
def lif_tick(
    weights,
    input_weights,
    inputs,
    synaptic,
    recurrent,
    potential,
    spikes,
    readout,
    trace,
    derivative,
    input_trace,
    learning,
    membrane_decay,
    synapse_decay,
    readout_decay,
    rest,
    reset,
    width,
):
    """One tick of recurrent LIF neurons, all state in place; only rows of neurons that spiked are read.

    ``weights [R, N, N]`` from neuron to neuron, ``input_weights [R, D, N]``, ``inputs [R B, D]``, the
    others ``[R B, N]``, with the ``B`` rows of a realisation one after the other; ``recurrent`` is the
    filtered recurrent input, ``trace`` the spike response, ``input_trace [R B, D]`` that to the inputs.
    Without ``learning`` those two, ``synaptic`` and ``derivative`` stay.
    """
    rows, neurons = potential.shape
    abreast, wide = rows // len(weights), inputs.shape[1]
    current, found = np.empty(neurons, np.float32), np.empty(max(neurons, wide), np.int64)
    for at in range(rows):
        r = at // abreast
        x, y, v, s = inputs[at], recurrent[at], potential[at], spikes[at]
        filtered, out, e, p = synaptic[at], readout[at], trace[at], derivative[at]
        if learning:
            for n in range(neurons):
                filtered[n] = synapse_decay * filtered[n] + (_ONE - synapse_decay) * s[n]
            for n in range(neurons):
                e[n] = membrane_decay * e[n] + (_ONE - membrane_decay) * filtered[n]
            for d in range(wide):
                input_trace[at, d] = membrane_decay * input_trace[at, d] + (_ONE - membrane_decay) * x[d]
        for n in range(neurons):
            y[n] = synapse_decay * y[n]
        _add_rows(y, weights[r], s, _ONE - synapse_decay, found)
        for n in range(neurons):
            current[n] = y[n] + rest
        _add_rows(current, input_weights[r], x, _ONE, found)
        for n in range(neurons):
            v[n] = membrane_decay * v[n] + (_ONE - membrane_decay) * current[n] - reset * s[n]
        for n in range(neurons):
            s[n] = _ONE if v[n] > _ZERO else _ZERO
        for n in range(neurons):
            out[n] = readout_decay * out[n] + (_ONE - readout_decay) * s[n]
        if learning:
            for n in range(neurons):
                z = _exp(-abs(v[n]) / width)
                p[n] = z / ((_ONE + z) * (_ONE + z) * width)


@njit(f"void({_cube},f4[::1],i8,{_rows})", **_compiled)
def most_probable(outputs, centres, near, change):
    """The mean of the best bin and its neighbours, into ``change [B, D]``.

    Bins have ``centres [K]``, weighted by ``exp(outputs [B, D, K])``; ``near`` neighbours on each side count.
    """
    for b in range(len(outputs)):
        for d in range(outputs.shape[1]):
            y = outputs[b, d]
            best = np.argmax(y)
            weight, total = _ZERO, _ZERO
            for k in range(max(best - near, 0), min(best + near + 1, len(centres))):
                w = np.exp(y[k] - y[best])
                weight, total = weight + w, total + w * centres[k]
            change[b, d] = total / weight


@njit("void(f4[::1],f4[::1],f4[::1],f4[::1],f4,f4,f4,f4,f4)", **_compiled)
def adam(values, gradient, mean, square, rate, decay, square_decay, square_correction, epsilon):
    """One Adam step up a gradient, in place; ``rate`` has the correction of the mean in it."""
    for i in range(len(values)):
        g = gradient[i]
        m = decay * mean[i] + (_ONE - decay) * g
        q = square_decay * square[i] + (_ONE - square_decay) * g * g
        mean[i], square[i] = m, q
        values[i] += rate * m / (np.sqrt(q * square_correction) + epsilon)


@njit(f"void(i4[:,::1],{_rows},{_rows},{_rows},{_rows},f4,f4,f4,f4,f4)", **_compiled)
def adam_at(where, values, gradient, mean, square, rate, decay, square_decay, square_correction, epsilon):
    """`adam` of the values ``[R, V]`` at ``where [R, S]`` only; ``mean`` and ``square`` are as wide."""
    for r in range(len(where)):
        w, v, slope, first, second = where[r], values[r], gradient[r], mean[r], square[r]
        for k in range(len(w)):
            g = slope[w[k]]
            m = decay * first[k] + (_ONE - decay) * g
            q = square_decay * second[k] + (_ONE - square_decay) * g * g
            first[k], second[k] = m, q
            v[w[k]] += rate * m / (np.sqrt(q * square_correction) + epsilon)
