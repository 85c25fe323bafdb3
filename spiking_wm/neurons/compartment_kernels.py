"""Fused kernels of the neurons of `compartments`, forward and backward, compiled by numba and cached on disk.

All kernels but `lif_rates` have the same arguments. Forward: ``drive [T, B, P N]`` holds the currents of all
ports, one port after the other (one tick if they are constant); ``state [S, B, N]`` is changed in place;
``spikes [T, B, N]`` and ``saved [T, K, B, N]``, what the backward pass needs, are filled. Backward:
``grad_state`` is changed in place from the gradient of the last state to that of the first, ``grad_drive`` is
filled, and ``grad_parameters [Q, N]`` is added to.
"""

from typing import Any

import numpy as np
from numba import njit

Array = np.ndarray

_ONE, _ZERO, _TWO, _FOUR = map(np.float32, (1, 0, 2, 4))
_row, _plane, _cube, _ticks = "f4[::1]", "f4[:,::1]", "f4[:,:,::1]", "f4[:,:,:,::1]"
_forward = f"void({_cube},{_cube},{_cube},{_ticks},{_plane},{_row})"
_back = f"void({_cube},{_ticks},{_cube},{_cube},{_plane},{_plane},{_row})"
_compiled: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit("f4(f4)", inline="always", **_compiled)
def _slope(above: np.float32) -> np.float32:
    """Surrogate gradient of a spike (QGate), given the potential above the threshold."""
    return max(_ZERO, _TWO - _FOUR * abs(above))


@njit(_forward, **_compiled)
def lif(drive: Array, state: Array, spikes: Array, saved: Array, parameters: Array, constants: Array) -> None:
    """LIF neurons: state ``u``. Saves the potential above the threshold."""
    rate, threshold = constants[0], constants[1]
    ticks, batch, neurons = spikes.shape
    for b in range(batch):
        u = state[0, b]
        for t in range(ticks):
            x, s, above = drive[t % len(drive), b], spikes[t, b], saved[t, 0, b]
            for n in range(neurons):
                above[n] = u[n] + rate * (x[n] - u[n]) - threshold
            for n in range(neurons):
                s[n] = _ONE if above[n] > _ZERO else _ZERO
            for n in range(neurons):
                u[n] = (above[n] + threshold) * (_ONE - s[n])


@njit(_back, **_compiled)
def lif_back(
    grad_spikes: Array,
    saved: Array,
    grad_state: Array,
    grad_drive: Array,
    grad_parameters: Array,
    parameters: Array,
    constants: Array,
) -> None:
    """Backward pass of `lif`."""
    rate = constants[0]
    ticks, batch, neurons = grad_spikes.shape
    for b in range(batch):
        g_u = grad_state[0, b]
        for t in range(ticks - 1, -1, -1):
            g_s, g_x, above = grad_spikes[t, b], grad_drive[t, b], saved[t, 0, b]
            for n in range(neurons):
                kept = g_u[n] if above[n] <= _ZERO else _ZERO
                g_u[n] = kept + g_s[n] * _slope(above[n])
            for n in range(neurons):
                g_x[n] = rate * g_u[n]
            for n in range(neurons):
                g_u[n] = (_ONE - rate) * g_u[n]


@njit(f"void({_plane},{_plane},{_plane},i8,{_row})", **_compiled)
def lif_rates(drive: Array, rates: Array, slopes: Array, ticks: int, constants: Array) -> None:
    """Mean rates of LIF neurons from rest for constant currents ``[B, N]``, and their derivatives."""
    rate, threshold, share = constants[0], constants[1], _ONE / np.float32(ticks)
    batch, neurons = drive.shape
    u, u_by_x, above = np.empty((3, neurons), np.float32)
    for b in range(batch):
        x, mean, slope = drive[b], rates[b], slopes[b]
        u[:], u_by_x[:], mean[:], slope[:] = _ZERO, _ZERO, _ZERO, _ZERO
        for _ in range(ticks):
            for n in range(neurons):
                above[n] = u[n] + rate * (x[n] - u[n]) - threshold
            for n in range(neurons):
                u_by_x[n] += rate * (_ONE - u_by_x[n])
            for n in range(neurons):
                slope[n] += share * _slope(above[n]) * u_by_x[n]
            for n in range(neurons):
                mean[n] += _ONE if above[n] > _ZERO else _ZERO
            for n in range(neurons):
                u_by_x[n] = u_by_x[n] if above[n] <= _ZERO else _ZERO
            for n in range(neurons):
                u[n] = above[n] + threshold if above[n] <= _ZERO else _ZERO
        for n in range(neurons):
            mean[n] /= np.float32(ticks)


@njit(_forward, **_compiled)
def integrate_and_fire(
    drive: Array, state: Array, spikes: Array, saved: Array, parameters: Array, constants: Array
) -> None:
    """Integrate-and-fire neurons: state ``u``. Saves 1 where the current has a gradient, else 0."""
    ticks, batch, neurons = spikes.shape
    for b in range(batch):
        u = state[0, b]
        for t in range(ticks):
            x, s, passes = drive[t % len(drive), b], spikes[t, b], saved[t, 0, b]
            for n in range(neurons):
                passes[n] = _ONE if x[n] > _ZERO and x[n] < _ONE else _ZERO
            for n in range(neurons):
                u[n] += x[n]
            for n in range(neurons):
                s[n] = _ONE if u[n] >= _ONE else _ZERO
            for n in range(neurons):
                u[n] -= s[n]


@njit(_back, **_compiled)
def integrate_and_fire_back(
    grad_spikes: Array,
    saved: Array,
    grad_state: Array,
    grad_drive: Array,
    grad_parameters: Array,
    parameters: Array,
    constants: Array,
) -> None:
    """Backward pass of `integrate_and_fire`."""
    ticks, batch, neurons = grad_spikes.shape
    for b in range(batch):
        for t in range(ticks):
            g_s, g_x, passes = grad_spikes[t, b], grad_drive[t, b], saved[t, 0, b]
            for n in range(neurons):
                g_x[n] = g_s[n] * passes[n]
        for n in range(neurons):
            grad_state[0, b, n] = _ZERO


@njit(_forward, **_compiled)
def adaptive_lif(
    drive: Array, state: Array, spikes: Array, saved: Array, parameters: Array, constants: Array
) -> None:
    """Adaptive LIF neurons: ``u``, and the threshold's rise ``a``. Saves ``u`` above the threshold."""
    rate, threshold, decay, step = constants[0], constants[1], constants[2], constants[3]
    ticks, batch, neurons = spikes.shape
    for b in range(batch):
        u, a = state[0, b], state[1, b]
        for t in range(ticks):
            x, s, above = drive[t % len(drive), b], spikes[t, b], saved[t, 0, b]
            for n in range(neurons):
                u[n] = u[n] + rate * (x[n] - u[n])
            for n in range(neurons):
                above[n] = u[n] - threshold - a[n]
            for n in range(neurons):
                s[n] = _ONE if above[n] > _ZERO else _ZERO
            for n in range(neurons):
                u[n] = u[n] * (_ONE - s[n])
            for n in range(neurons):
                a[n] = decay * a[n] + step * s[n]


@njit(_back, **_compiled)
def adaptive_lif_back(
    grad_spikes: Array,
    saved: Array,
    grad_state: Array,
    grad_drive: Array,
    grad_parameters: Array,
    parameters: Array,
    constants: Array,
) -> None:
    """Backward pass of `adaptive_lif`."""
    rate, decay, step = constants[0], constants[2], constants[3]
    ticks, batch, neurons = grad_spikes.shape
    crossing = np.empty(neurons, np.float32)
    for b in range(batch):
        g_u, g_a = grad_state[0, b], grad_state[1, b]
        for t in range(ticks - 1, -1, -1):
            g_s, g_x, above = grad_spikes[t, b], grad_drive[t, b], saved[t, 0, b]
            for n in range(neurons):
                crossing[n] = (g_s[n] + step * g_a[n]) * _slope(above[n])
            for n in range(neurons):
                g_u[n] = (g_u[n] if above[n] <= _ZERO else _ZERO) + crossing[n]
            for n in range(neurons):
                g_a[n] = decay * g_a[n] - crossing[n]
            for n in range(neurons):
                g_x[n] = rate * g_u[n]
            for n in range(neurons):
                g_u[n] = (_ONE - rate) * g_u[n]


@njit(_forward, **_compiled)
def two_compartments(
    drive: Array, state: Array, spikes: Array, saved: Array, parameters: Array, constants: Array
) -> None:
    """TC-LIF neurons: dendrite and soma. Saves both, and the soma of the tick before."""
    threshold, dendritic_reset = constants[1], constants[2]
    ticks, batch, neurons = spikes.shape
    back, forth = parameters[0], parameters[1]
    for b in range(batch):
        d, u = state[0, b], state[1, b]
        for t in range(ticks):
            x, s = drive[t % len(drive), b], spikes[t, b]
            dendrite, soma, last = saved[t, 0, b], saved[t, 1, b], saved[t, 2, b]
            for n in range(neurons):
                last[n] = u[n]
            for n in range(neurons):
                fired = _ONE if u[n] > threshold else _ZERO
                d[n] = d[n] + back[n] * u[n] + x[n] - dendritic_reset * fired
            for n in range(neurons):
                fired = _ONE if u[n] > threshold else _ZERO
                u[n] = u[n] + forth[n] * d[n] - threshold * fired
            for n in range(neurons):
                s[n] = _ONE if u[n] > threshold else _ZERO
            for n in range(neurons):
                dendrite[n] = d[n]
            for n in range(neurons):
                soma[n] = u[n]


@njit(_back, **_compiled)
def two_compartments_back(
    grad_spikes: Array,
    saved: Array,
    grad_state: Array,
    grad_drive: Array,
    grad_parameters: Array,
    parameters: Array,
    constants: Array,
) -> None:
    """Backward pass of `two_compartments`."""
    threshold = constants[1]
    ticks, batch, neurons = grad_spikes.shape
    back, forth = parameters[0], parameters[1]
    g_back, g_forth = grad_parameters[0], grad_parameters[1]
    for b in range(batch):
        g_d, g_u = grad_state[0, b], grad_state[1, b]
        for t in range(ticks - 1, -1, -1):
            g_s, g_x = grad_spikes[t, b], grad_drive[t, b]
            dendrite, soma, last = saved[t, 0, b], saved[t, 1, b], saved[t, 2, b]
            for n in range(neurons):
                g_u[n] += g_s[n] * _slope(soma[n] - threshold)
            for n in range(neurons):
                g_forth[n] += g_u[n] * dendrite[n]
            for n in range(neurons):
                g_d[n] += forth[n] * g_u[n]
            for n in range(neurons):
                g_back[n] += g_d[n] * last[n]
            for n in range(neurons):
                g_x[n] = g_d[n]
            for n in range(neurons):
                g_u[n] += back[n] * g_d[n]


@njit("f4(f4)", inline="always", **_compiled)
def _sigmoid(x: np.float32) -> np.float32:
    """Logistic function, to 1e-5; of products alone, so that the compiler vectorises the loop."""
    y = max(-abs(x), np.float32(-20)) / np.float32(256)
    z = _ONE + y * (_ONE + y * np.float32(1 / 2) * (_ONE + y * np.float32(1 / 3) * (_ONE + y / _FOUR)))
    for _ in range(8):
        z *= z
    return (_ONE if x >= _ZERO else z) / (_ONE + z)


@njit(_forward, **_compiled)
def multi_compartment(
    drive: Array, state: Array, spikes: Array, saved: Array, parameters: Array, constants: Array
) -> None:
    """MCNs: basal, apical, soma. Saves the soma above the threshold, the gate, and what the gate scales."""
    rate, threshold, gated, soft = constants[0], constants[1], constants[2], constants[3]
    ticks, batch, neurons = spikes.shape
    for b in range(batch):
        basal, apical, u = state[0, b], state[1, b], state[2, b]
        for t in range(ticks):
            x, s = drive[t % len(drive), b], spikes[t, b]
            to_basal, to_apical, to_soma = x[:neurons], x[neurons : 2 * neurons], x[2 * neurons :]
            above, gate, pull = saved[t, 0, b], saved[t, 1, b], saved[t, 2, b]
            for n in range(neurons):
                basal[n] += rate * (to_basal[n] - basal[n])
            for n in range(neurons):
                apical[n] += rate * (to_apical[n] - apical[n])
            for n in range(neurons):
                gate[n] = _sigmoid(apical[n])
            for n in range(neurons):
                pull[n] = basal[n] - u[n] + to_soma[n] - gated * u[n]
            for n in range(neurons):
                u[n] += rate * (gate[n] * pull[n] - (_ONE - gated) * u[n])
            for n in range(neurons):
                above[n] = u[n] - threshold
            for n in range(neurons):
                s[n] = _ONE if above[n] > _ZERO else _ZERO
            for n in range(neurons):
                basal[n] *= _ONE - (_ONE - soft) * s[n]
            for n in range(neurons):
                apical[n] *= _ONE - (_ONE - soft) * s[n]
            for n in range(neurons):
                u[n] -= s[n] * (soft * threshold + (_ONE - soft) * u[n])


@njit(_back, **_compiled)
def multi_compartment_back(
    grad_spikes: Array,
    saved: Array,
    grad_state: Array,
    grad_drive: Array,
    grad_parameters: Array,
    parameters: Array,
    constants: Array,
) -> None:
    """Backward pass of `multi_compartment`."""
    rate, threshold, gated, soft = constants[0], constants[1], constants[2], constants[3]
    ticks, batch, neurons = grad_spikes.shape
    kept = np.empty(neurons, np.float32)
    for b in range(batch):
        g_basal, g_apical, g_u = grad_state[0, b], grad_state[1, b], grad_state[2, b]
        for t in range(ticks - 1, -1, -1):
            g_s, g_x = grad_spikes[t, b], grad_drive[t, b]
            to_basal, to_apical, to_soma = g_x[:neurons], g_x[neurons : 2 * neurons], g_x[2 * neurons :]
            above, gate, pull = saved[t, 0, b], saved[t, 1, b], saved[t, 2, b]
            for n in range(neurons):
                kept[n] = _ONE if above[n] <= _ZERO else soft
            for n in range(neurons):
                g_u[n] = kept[n] * g_u[n] + (g_s[n] - soft * threshold * g_u[n]) * _slope(above[n])
            for n in range(neurons):
                to_soma[n] = rate * gate[n] * g_u[n]
            for n in range(neurons):
                g_basal[n] = kept[n] * g_basal[n] + to_soma[n]
            for n in range(neurons):
                g_apical[n] = kept[n] * g_apical[n] + rate * g_u[n] * pull[n] * gate[n] * (_ONE - gate[n])
            for n in range(neurons):
                g_u[n] -= (_ONE + gated) * to_soma[n] + rate * (_ONE - gated) * g_u[n]
            for n in range(neurons):
                to_basal[n] = rate * g_basal[n]
            for n in range(neurons):
                to_apical[n] = rate * g_apical[n]
            for n in range(neurons):
                g_basal[n] *= _ONE - rate
            for n in range(neurons):
                g_apical[n] *= _ONE - rate
