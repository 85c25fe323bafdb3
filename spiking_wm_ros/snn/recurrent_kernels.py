"""Loops of recurrent LIF networks with local plasticity, compiled by numba and cached on disk.

Every realisation is a loop of its own, so that many side by side give what each gives alone.
"""

import numpy as np
from numba import njit

_ONE, _ZERO = np.float32(1), np.float32(0)
_rows, _cube = "f4[:,::1]", "f4[:,:,::1]"


@njit(
    f"void({_cube},{_cube},{','.join(9 * [_rows])},f4,f4,f4,f4,f4,f4)",
    cache=True,
    nogil=True,
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
    """
    rows, neurons = potential.shape
    abreast = rows // len(weights)
    current = np.empty(neurons, np.float32)
    for at in range(rows):
        r = at // abreast
        y, v, s = recurrent[at], potential[at], spikes[at]
        filtered, out, e, p = synaptic[at], readout[at], trace[at], derivative[at]
        for n in range(neurons):
            filtered[n] = synapse_decay * filtered[n] + (_ONE - synapse_decay) * s[n]
        for n in range(neurons):
            y[n] *= synapse_decay
        for j in range(neurons):
            if s[j] != _ZERO:
                row = weights[r, j]
                for n in range(neurons):
                    y[n] += (_ONE - synapse_decay) * row[n]
        for n in range(neurons):
            current[n] = y[n] + rest
        for d in range(inputs.shape[1]):
            x, row = inputs[at, d], input_weights[r, d]
            input_trace[at, d] = membrane_decay * input_trace[at, d] + (_ONE - membrane_decay) * x
            if x != _ZERO:
                for n in range(neurons):
                    current[n] += x * row[n]
        for n in range(neurons):
            v[n] = membrane_decay * v[n] + (_ONE - membrane_decay) * current[n] - reset * s[n]
        for n in range(neurons):
            s[n] = _ONE if v[n] > _ZERO else _ZERO
        for n in range(neurons):
            out[n] = readout_decay * out[n] + (_ONE - readout_decay) * s[n]
        for n in range(neurons):
            e[n] = membrane_decay * e[n] + (_ONE - membrane_decay) * filtered[n]
        for n in range(neurons):
            z = np.exp(-abs(v[n]) / width)
            p[n] = z / ((_ONE + z) * (_ONE + z) * width)


@njit(f"void({_cube},{_cube},{_cube},{_cube},f4[::1],f4)", cache=True, nogil=True)
def credit(gradient, trace, credited, added, share, decay):
    """``gradient += share trace + credited`` and ``trace = decay trace + added``, in one pass."""
    for r in range(len(gradient)):
        for i in range(gradient.shape[1]):
            g, f, c, a = gradient[r, i], trace[r, i], credited[r, i], added[r, i]
            for j in range(len(g)):
                g[j] += share[r] * f[j] + c[j]
            for j in range(len(g)):
                f[j] = decay * f[j] + a[j]


@njit("void(f4[::1],f4[::1],f4[::1],f4[::1],f4,f4,f4,f4,f4)", cache=True, nogil=True)
def adam(values, gradient, mean, square, rate, decay, square_decay, square_correction, epsilon):
    """One Adam descent step in place; ``rate`` has the correction of the mean in it."""
    for i in range(len(values)):
        mean[i] = decay * mean[i] + (_ONE - decay) * gradient[i]
    for i in range(len(values)):
        square[i] = square_decay * square[i] + (_ONE - square_decay) * gradient[i] * gradient[i]
    for i in range(len(values)):
        values[i] -= rate * mean[i] / (np.sqrt(square[i] * square_correction) + epsilon)
