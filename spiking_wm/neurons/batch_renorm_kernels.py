"""ReLU and batch renormalisation in one pass, for float32 on the CPU, compiled by numba and cached on disk.

They compute what `BatchRenorm` computes with PyTorch. Inner loops run over short contiguous rows, so that the
compiler can vectorise them.
"""

import numpy as np
from numba import njit

_ONE, _ZERO = np.float32(1), np.float32(0)

_table, _cube = "f4[:,::1]", "f4[:,:,::1]"


@njit(f"void({_cube},{','.join(7 * [_table])},b1,f4,f4,f4,f4)", cache=True, nogil=True)
def relu_renorm_forward(
    x, bias, mean, variance, least, scale, factor, drift, plain, rate, most_factor, most_drift, epsilon
):
    """Replace ``x [M, B, N]`` by the renormalised ReLU of ``x + bias``, and update the running statistics.

    Fills ``least``, the renormalised value of 0, ``scale``, the derivative of a renormalised value by its
    rectified one, and the corrections ``factor`` (r) and ``drift`` (d), each ``[M, N]``; ``plain`` leaves the
    corrections at 1 and 0.
    """
    members, batch, neurons = x.shape
    total, squares = np.empty(neurons, np.float32), np.empty(neurons, np.float32)
    for m in range(members):
        offset, slope, shift = bias[m], scale[m], least[m]
        total[:] = _ZERO
        squares[:] = _ZERO
        for b in range(batch):
            row = x[m, b]
            for n in range(neurons):
                row[n] = max(row[n] + offset[n], _ZERO)
            for n in range(neurons):
                total[n] += row[n]
        for n in range(neurons):
            total[n] /= batch
        for b in range(batch):
            row = x[m, b]
            for n in range(neurons):
                squares[n] += (row[n] - total[n]) * (row[n] - total[n])
        for n in range(neurons):
            own = squares[n] / batch
            deviation, running = np.sqrt(own + epsilon), np.sqrt(variance[m, n] + epsilon)
            r, d = _ONE, _ZERO
            if not plain:
                r = min(max(deviation / running, _ONE / most_factor), most_factor)
                d = min(max((total[n] - mean[m, n]) / running, -most_drift), most_drift)
            slope[n] = r / deviation
            shift[n] = d - total[n] * slope[n]
            factor[m, n], drift[m, n] = r, d
            mean[m, n] += rate * (total[n] - mean[m, n])
            variance[m, n] += rate * (own - variance[m, n])
        for b in range(batch):
            row = x[m, b]
            for n in range(neurons):
                row[n] = row[n] * slope[n] + shift[n]


@njit(f"void({_cube},{_cube},{','.join(4 * [_table])},{_cube},{_table})", cache=True, nogil=True)
def relu_renorm_backward(grad, y, least, scale, factor, drift, grad_x, grad_bias):
    """Gradients of the products and biases, corrections taken as constants.

    ``y`` is the result of `relu_renorm_forward`, and the tables are as it filled them. ``grad_bias`` is
    added to.
    """
    members, batch, neurons = y.shape
    total, weighted = np.empty(neurons, np.float32), np.empty(neurons, np.float32)
    constant, along = np.empty(neurons, np.float32), np.empty(neurons, np.float32)
    for m in range(members):
        s, zero, bias = scale[m], least[m], grad_bias[m]
        total[:] = _ZERO
        weighted[:] = _ZERO
        for b in range(batch):
            g, row = grad[m, b], y[m, b]
            for n in range(neurons):
                total[n] += g[n]
            for n in range(neurons):
                weighted[n] += g[n] * row[n]
        for n in range(neurons):
            r, d = factor[m, n], drift[m, n]
            # mean of gradient times value before the corrections, which is (y - d) / r
            aligned = (weighted[n] - d * total[n]) / (r * batch)
            along[n] = -s[n] * aligned / r
            constant[n] = -s[n] * total[n] / batch - d * along[n]
        for b in range(batch):
            g, row, out = grad[m, b], y[m, b], grad_x[m, b]
            for n in range(neurons):
                change = s[n] * g[n] + constant[n] + along[n] * row[n]
                out[n] = change if row[n] > zero[n] else _ZERO
            for n in range(neurons):
                bias[n] += out[n]
