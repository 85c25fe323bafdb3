"""Fused multi-tick neuron loops for float32 on the CPU, compiled by numba and cached on disk.

They compute what the tick-by-tick PyTorch code in `neurons` computes, without a temporary per
operation, which is several times faster.
Inner loops run over short contiguous rows, one array written by each, so that the compiler can
rule out overlaps and vectorise them.
"""

import numpy as np
from numba import njit

_BLOCK = 512  # elements whose running state stays in the L1 cache
_ONE, _ZERO, _HALF = np.float32(1), np.float32(0), np.float32(0.5)

_row, _ticks = "f4[::1]", "f4[:,::1]"
_plane, _cube = "f4[:,::1]", "f4[:,:,::1]"


@njit(f"void({_cube},{_row},{_cube},{_cube},b1,f4,f4,f4)", cache=True, nogil=True)
def clif_forward(drive, bias, membranes, spikes, keep, current_decay, membrane_decay, threshold):
    """Run CLIF neurons from rest; fill ``spikes``, and ``membranes`` if they are to be kept."""
    ticks, batch, neurons = drive.shape
    c, v = np.empty(neurons, np.float32), np.empty(neurons, np.float32)
    for b in range(batch):
        c[:] = _ZERO
        v[:] = _ZERO
        for t in range(ticks):
            d, s = drive[t, b], spikes[t, b]
            for n in range(neurons):
                c[n] = current_decay * c[n] + (d[n] + bias[n])
            for n in range(neurons):
                # the reset of the last tick's spikes, then the decay
                v[n] = membrane_decay * (_ZERO if v[n] > threshold else v[n]) + c[n]
            for n in range(neurons):
                s[n] = _ONE if v[n] > threshold else _ZERO
            if keep:
                membranes[t, b, :] = v


@njit(f"void({_cube},{_cube},{_cube},{_row},f4,f4,f4)", cache=True, nogil=True)
def clif_backward(grad_spikes, membranes, grad_drive, grad_bias, current_decay, membrane_decay, threshold):
    """Back-propagate to rest; ``grad_spikes`` has one tick if it is the same at all of them."""
    ticks, batch, neurons = membranes.shape
    g, g_c = np.empty(neurons, np.float32), np.empty(neurons, np.float32)
    g_v, g_r = np.empty(neurons, np.float32), np.empty(neurons, np.float32)
    for b in range(batch):
        g_c[:] = _ZERO
        g_v[:] = _ZERO
        g_r[:] = _ZERO
        for t in range(ticks - 1, -1, -1):
            g_s, g_d, v = grad_spikes[t % len(grad_spikes), b], grad_drive[t, b], membranes[t, b]
            for n in range(neurons):
                g[n] = g_v[n] + ((g_s[n] + g_r[n]) if abs(v[n] - threshold) < _HALF else _ZERO)
            for n in range(neurons):
                g_d[n] = g_c[n] + g[n]
            for n in range(neurons):
                grad_bias[n] += g_d[n]
            if t:
                v_last = membranes[t - 1, b]
                for n in range(neurons):
                    g_c[n] = current_decay * g_d[n]
                for n in range(neurons):
                    g_r[n] = -membrane_decay * g[n] * v_last[n]
                for n in range(neurons):
                    g_v[n] = _ZERO if v_last[n] > threshold else membrane_decay * g[n]


@njit(f"void({_row},{_ticks},f4)", cache=True, nogil=True)
def regular_spikes(activity, spikes, threshold):
    """Integrate a constant ``activity`` ``[n]`` into soft-reset spikes ``[T, n]``."""
    ticks, size = spikes.shape
    for start in range(0, size, _BLOCK):
        stop = min(size, start + _BLOCK)
        a = activity[start:stop]
        v = np.zeros(stop - start, np.float32)
        for t in range(ticks):
            s = spikes[t, start:stop]
            for i in range(stop - start):
                v[i] += a[i]
                s[i] = _ONE if v[i] > threshold else _ZERO
                v[i] -= threshold * s[i]


@njit(
    f"void({_cube},{_plane},{_plane},{_plane},{_cube},{_cube},{_cube},{_cube},{_cube},{_cube},f4,f4)",
    cache=True,
    nogil=True,
)
def alif_forward(
    current,
    membrane_decay,
    adaptation_decay,
    threshold,
    membrane,
    adaptation,
    before_reset,
    used_adaptation,
    spikes,
    readout,
    adaptation_step,
    readout_gain,
):
    """One tick of adaptive LIF neurons ``[M, B, N]``; ``membrane`` and ``adaptation`` in place."""
    members, batch, neurons = current.shape
    for m in range(members):
        d_m, d_a, theta = membrane_decay[m], adaptation_decay[m], threshold[m]
        for b in range(batch):
            i_t, v, a = current[m, b], membrane[m, b], adaptation[m, b]
            u, a_used = before_reset[m, b], used_adaptation[m, b]
            s, r = spikes[m, b], readout[m, b]
            for n in range(neurons):
                u[n] = d_m[n] * v[n] + (_ONE - d_m[n]) * i_t[n]
            for n in range(neurons):
                s[n] = _ONE if u[n] >= theta[n] + a[n] else _ZERO
            for n in range(neurons):
                v[n] = u[n] * (_ONE - s[n])
            for n in range(neurons):
                r[n] = v[n] + readout_gain * i_t[n]
            for n in range(neurons):
                a_used[n] = a[n]
            for n in range(neurons):
                a[n] = d_a[n] * a[n] + adaptation_step * s[n]


@njit(
    f"void({_cube},{_cube},{_cube},{_cube},{_cube},{_cube},{_cube},{_plane},{_plane},{_plane},"
    f"{_cube},{_cube},{_cube},{_plane},{_plane},{_plane},f4,f4,f4)",
    cache=True,
    nogil=True,
)
def alif_backward(
    grad_spikes,
    grad_readout,
    current,
    before_reset,
    used_adaptation,
    spikes,
    last_membrane,
    membrane_decay,
    adaptation_decay,
    threshold,
    grad_membrane,
    grad_adaptation,
    grad_current,
    grad_membrane_decay,
    grad_adaptation_decay,
    grad_threshold,
    adaptation_step,
    readout_gain,
    sharpness,
):
    """One tick back: state gradients in place, parameter gradients ``[M, N]`` accumulated."""
    members, batch, neurons = current.shape
    # gradients of the membrane after and before the reset, and of the threshold crossing
    after = np.empty(neurons, np.float32)
    before = np.empty(neurons, np.float32)
    fire = np.empty(neurons, np.float32)
    for m in range(members):
        d_m, d_a, theta = membrane_decay[m], adaptation_decay[m], threshold[m]
        g_dm, g_da, g_theta = grad_membrane_decay[m], grad_adaptation_decay[m], grad_threshold[m]
        for b in range(batch):
            g_s, g_r, i_t = grad_spikes[m, b], grad_readout[m, b], current[m, b]
            u, a, s, v_last = before_reset[m, b], used_adaptation[m, b], spikes[m, b], last_membrane[m, b]
            g_v, g_a, g_i = grad_membrane[m, b], grad_adaptation[m, b], grad_current[m, b]
            for n in range(neurons):
                after[n] = g_v[n] + g_r[n]
            for n in range(neurons):
                fire[n] = g_s[n] - u[n] * after[n] + adaptation_step * g_a[n]
            for n in range(neurons):
                width = _ONE + sharpness * abs(u[n] - theta[n] - a[n])
                fire[n] /= width * width
            for n in range(neurons):
                g_da[n] += g_a[n] * a[n]
            for n in range(neurons):
                g_a[n] = d_a[n] * g_a[n] - fire[n]
            for n in range(neurons):
                g_theta[n] -= fire[n]
            for n in range(neurons):
                before[n] = after[n] * (_ONE - s[n]) + fire[n]
            for n in range(neurons):
                g_dm[n] += before[n] * (v_last[n] - i_t[n])
            for n in range(neurons):
                g_v[n] = d_m[n] * before[n]
            for n in range(neurons):
                g_i[n] = readout_gain * g_r[n] + (_ONE - d_m[n]) * before[n]


@njit(f"void({_ticks},{_plane},{_row},{_ticks},f4,f4,f4)", cache=True, nogil=True)
def clif_events(events, weight, bias, spikes, current_decay, membrane_decay, threshold):
    """A CLIF layer from rest for one input: only the weights of inputs that spike are touched.

    ``events [T, in]``, ``weight [in, out]``, ``spikes [T, out]`` is filled.
    """
    ticks, inputs = events.shape
    outputs = len(bias)
    drive = np.empty(outputs, np.float32)
    c = np.zeros(outputs, np.float32)
    v = np.zeros(outputs, np.float32)
    for t in range(ticks):
        for o in range(outputs):
            drive[o] = bias[o]
        for i in range(inputs):
            if events[t, i] != _ZERO:
                row = weight[i]
                for o in range(outputs):
                    drive[o] += row[o]
        s = spikes[t]
        for o in range(outputs):
            c[o] = current_decay * c[o] + drive[o]
        for o in range(outputs):
            # the reset of the last tick's spikes, then the decay
            v[o] = membrane_decay * (_ZERO if v[o] > threshold else v[o]) + c[o]
        for o in range(outputs):
            s[o] = _ONE if v[o] > threshold else _ZERO
