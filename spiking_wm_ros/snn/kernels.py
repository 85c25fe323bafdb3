"""Fused multi-tick neuron loops for float32 on the CPU, compiled by numba and cached on disk.

They compute what the tick-by-tick PyTorch code in `neurons` computes, without a temporary per
operation, which is several times faster (a CLIF layer of 256 at batch 256, 5 ticks: 1.4 ms forward
and backward instead of 8).
Inner loops run over short contiguous rows, one array written by each, so that the compiler can
rule out overlaps and vectorise them.
"""

import numpy as np
from numba import njit

_BLOCK = 512  # elements whose running state stays in the L1 cache
_ONE, _ZERO, _HALF = np.float32(1), np.float32(0), np.float32(0.5)

_row, _ticks = "f4[::1]", "f4[:,::1]"
_plane, _cube = "f4[:,::1]", "f4[:,:,::1]"


@njit(f"void({_ticks},{_row},{_row},{_row},{_ticks},{_ticks},f4,f4,f4)", cache=True, nogil=True)
def clif_forward(
    drive, current, membrane, spike, membranes, spikes, current_decay, membrane_decay, threshold
):
    """Fill ``membranes`` and ``spikes`` ``[T, n]``; ``current`` ends as the last tick's."""
    ticks, size = drive.shape
    for start in range(0, size, _BLOCK):
        stop = min(size, start + _BLOCK)
        c = current[start:stop]
        for t in range(ticks):
            d, v, s = drive[t, start:stop], membranes[t, start:stop], spikes[t, start:stop]
            v_last = membranes[t - 1, start:stop] if t else membrane[start:stop]
            s_last = spikes[t - 1, start:stop] if t else spike[start:stop]
            for i in range(stop - start):
                c[i] = current_decay * c[i] + d[i]
                v[i] = membrane_decay * (v_last[i] * (_ONE - s_last[i])) + c[i]
                s[i] = _ONE if v[i] > threshold else _ZERO


@njit(
    f"void({_ticks},{_ticks},{_ticks},{_row},{_row},{_row},{_row},{_row},{_ticks},f4,f4,f4)",
    cache=True,
    nogil=True,
)
def clif_backward(
    grad_spikes,
    membranes,
    spikes,
    membrane,
    spike,
    grad_current,
    grad_membrane,
    grad_reset,
    grad_drive,
    current_decay,
    membrane_decay,
    threshold,
):
    """Back-propagate through all ticks; ``grad_current/membrane/reset`` end as the initial state's."""
    ticks, size = grad_spikes.shape
    for start in range(0, size, _BLOCK):
        stop = min(size, start + _BLOCK)
        g_c, g_v = grad_current[start:stop], grad_membrane[start:stop]
        g_r = grad_reset[start:stop]
        for t in range(ticks - 1, -1, -1):
            g_s, g_d = grad_spikes[t, start:stop], grad_drive[t, start:stop]
            v = membranes[t, start:stop]
            v_last = membranes[t - 1, start:stop] if t else membrane[start:stop]
            s_last = spikes[t - 1, start:stop] if t else spike[start:stop]
            for i in range(stop - start):
                inside = abs(v[i] - threshold) < _HALF
                g = g_v[i] + ((g_s[i] + g_r[i]) if inside else _ZERO)
                g_d[i] = g_c[i] + g
                g_c[i] = current_decay * g_d[i]
                g_r[i] = -membrane_decay * g * v_last[i]
                g_v[i] = membrane_decay * g * (_ONE - s_last[i])


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
