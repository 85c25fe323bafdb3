"""Neurons of `integrate_and_fire` over all ticks at once, forward and back, compiled by numba and cached.

They go through some neurons at a time, whose potentials stay in the nearest cache over all ticks; within that
through short loops, or no vectors are made of them.
"""

import numpy as np
from numba import njit

_ONE, _ZERO, _PI = map(np.float32, (1, 0, np.pi))
_SOME = 512  # neurons at a time
_row, _plane, _cube = "f4[::1]", "f4[:,::1]", "f4[:,:,::1]"
_compiled = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(f"void({_cube},{_plane},{_cube},{_row})", **_compiled)
def integrate_and_fire(drive, potential, spikes, constants):
    """Fill ``spikes [T, B, N]`` and ``potential [B, N]`` after them, for ``drive [T or 1, B, N]``.

    Constants are gain, leak, threshold, whether resets subtract, and the potential at rest.
    """
    gain, leak, threshold, soft, start = constants
    ticks, batch, neurons = spikes.shape
    h = np.empty(_SOME, np.float32)
    for b in range(batch):
        for first in range(0, neurons, _SOME):
            some = slice(first, min(first + _SOME, neurons))
            v = potential[b, some]
            v[:] = start
            for t in range(ticks):
                x, s = drive[t % len(drive), b, some], spikes[t, b, some]
                for n in range(len(v)):
                    h[n] = v[n] + gain * x[n] - leak * v[n]
                for n in range(len(v)):
                    s[n] = _ONE if h[n] >= threshold else _ZERO
                for n in range(len(v)):
                    v[n] = h[n] - s[n] * (soft * threshold + (_ONE - soft) * h[n])


@njit(f"void({_cube},{_cube},{_plane},{_cube},{_row})", **_compiled)
def integrate_and_fire_back(grad_spikes, drive, grad_potential, grad_drive, constants):
    """Undo `integrate_and_fire`: fill ``grad_drive``, of the shape of drive.

    Potentials before resets are calculated a second time, which takes less memory than to keep them.
    """
    gain, leak, threshold, soft, start = constants
    ticks, batch, neurons = grad_spikes.shape
    before, (v, g_h) = np.empty((ticks, _SOME), np.float32), np.empty((2, _SOME), np.float32)
    for b in range(batch):
        for first in range(0, neurons, _SOME):
            some = slice(first, min(first + _SOME, neurons))
            g_v = grad_potential[b, some]
            v[:] = start
            for t in range(ticks):
                x, h = drive[t % len(drive), b, some], before[t]
                for n in range(len(x)):
                    h[n] = v[n] + gain * x[n] - leak * v[n]
                for n in range(len(x)):
                    v[n] = h[n] if h[n] < threshold else soft * (h[n] - threshold)
            for t in range(ticks - 1, -1, -1):
                g_s, g_x, h = grad_spikes[t, b, some], grad_drive[t % len(drive), b, some], before[t]
                for n in range(len(g_v)):
                    above = h[n] - threshold
                    taken = soft * threshold + (_ONE - soft) * h[n]
                    g_h[n] = (g_s[n] - g_v[n] * taken) / (_ONE + _PI * _PI * above * above)
                for n in range(len(g_v)):
                    g_v[n] = g_h[n] + g_v[n] * (_ONE if h[n] < threshold else soft)
                if t == ticks - 1 or len(drive) == ticks:
                    g_x[:] = _ZERO
                for n in range(len(g_v)):
                    g_x[n] += gain * g_v[n]
                for n in range(len(g_v)):
                    g_v[n] = (_ONE - leak) * g_v[n]
