"""Neurons of `integrate_and_fire` over all ticks at once, forward and back, compiled by numba and cached."""

import numpy as np
from numba import njit

_ONE, _ZERO, _PI = map(np.float32, (1, 0, np.pi))
_row, _plane, _cube = "f4[::1]", "f4[:,::1]", "f4[:,:,::1]"
_compiled = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(f"void({_cube},{_plane},{_cube},{_cube},{_row})", **_compiled)
def integrate_and_fire(drive, potential, spikes, before, constants):
    """Fill ``spikes [T, B, N]``, and what potentials were ``before`` spikes reset them, or only the last.

    ``drive [T or 1, B, N]``; ``potential [B, N]`` goes on; constants are gain, leak, threshold, and whether
    resets subtract.
    """
    gain, leak, threshold, soft = constants
    ticks, batch, neurons = spikes.shape
    for b in range(batch):
        v = potential[b]
        for t in range(ticks):
            x, s, h = drive[t % len(drive), b], spikes[t, b], before[t % len(before), b]
            for n in range(neurons):
                h[n] = v[n] + gain * x[n] - leak * v[n]
            for n in range(neurons):
                s[n] = _ONE if h[n] >= threshold else _ZERO
            for n in range(neurons):
                v[n] = h[n] - s[n] * (soft * threshold + (_ONE - soft) * h[n])


@njit(f"void({_cube},{_cube},{_plane},{_cube},{_row})", **_compiled)
def integrate_and_fire_back(grad_spikes, before, grad_potential, grad_drive, constants):
    """Undo `integrate_and_fire`: fill ``grad_drive [T, B, N]``."""
    gain, leak, threshold, soft = constants
    ticks, batch, neurons = grad_spikes.shape
    for b in range(batch):
        g_v = grad_potential[b]
        for t in range(ticks - 1, -1, -1):
            g_s, g_x, h = grad_spikes[t, b], grad_drive[t, b], before[t, b]
            for n in range(neurons):  # short loops, or they are not made vectors of
                above = h[n] - threshold
                taken = soft * threshold + (_ONE - soft) * h[n]
                g_x[n] = (g_s[n] - g_v[n] * taken) / (_ONE + _PI * _PI * above * above)
            for n in range(neurons):
                g_v[n] = g_x[n] + g_v[n] * (_ONE if h[n] < threshold else soft)
            for n in range(neurons):
                g_x[n] = gain * g_v[n]
            for n in range(neurons):
                g_v[n] = (_ONE - leak) * g_v[n]
