"""Spiking neurons, evaluated over all ticks at once, with their state passed in and out.

Shape legend used in this package: ``M`` ensemble members, ``B`` batch, ``N`` neurons,
``T`` ticks (spike steps within one decision), ``P`` neurons per population.

Each neuron is written down tick by tick in PyTorch, the definition, for any device and precision.
What training spends its time on is there a second time, fused by `kernels` for float32 on the CPU
(adaptive LIF here, current-based LIF in `clif_layers`). The tests hold one against the other.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from spiking_wm.neurons import lif_kernels as kernels
from spiking_wm.neurons import surrogate


def fused(*tensors: Tensor) -> bool:
    """Whether the fused kernels can evaluate these tensors."""
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)


# --- current-based LIF (PopSAN) ---------------------------------------------------------------


class CLIFState(NamedTuple):
    """State of current-based LIF neurons after a tick; each tensor is ``[..., N]``."""

    current: Tensor
    membrane: Tensor
    spike: Tensor


class CLIFConstants(NamedTuple):
    """Decay factors per tick and the threshold (Tang et al. 2020, PopSAN)."""

    current_decay: float = 0.5
    membrane_decay: float = 0.75
    threshold: float = 0.5


def clif(
    drive: Tensor, state: CLIFState | None = None, constants: CLIFConstants = CLIFConstants()
) -> tuple[Tensor, CLIFState]:
    """Run current-based LIF neurons over the first dimension of ``drive``.

    Per tick: ``c = d_c c + drive``; ``v = d_v v (1 - s) + c``; ``s = [v > threshold]``
    (Tang et al. 2020, eq. 3-5). The surrogate gradient of a spike is 1 where the membrane
    potential is within 0.5 of the threshold, else 0.

    Args:
        drive: synaptic input, ``[T, ..., N]``.
        state: state to go on from; ``None`` is the state of rest (all zero).
        constants: decay factors and threshold.

    Returns:
        Spikes ``[T, ..., N]`` (0 or 1) and the state after the last tick.
    """
    if state is None:
        rest = torch.zeros_like(drive[0])
        state = CLIFState(rest, rest, rest)
    current, membrane, spike = state
    spikes = []
    for tick_drive in drive:
        current = constants.current_decay * current + tick_drive
        membrane = constants.membrane_decay * (membrane * (1 - spike)) + current
        # a step fires at >= 0; the paper's neuron fires above the threshold
        above = membrane - constants.threshold - 1e-9 * (membrane == constants.threshold)
        spike = surrogate.rectangle(above)
        spikes.append(spike)
    return torch.stack(spikes), CLIFState(current, membrane, spike)


# --- adaptive LIF, recurrent (world model) ------------------------------------------------------


class ALIFConstants(NamedTuple):
    """Threshold rise per spike, gain of the input in the readout, sharpness of the surrogate."""

    adaptation_step: float = 0.1
    readout_gain: float = 0.1
    sharpness: float = 10.0


class ALIFParameters(NamedTuple):
    """Learnable values, each ``[M, N]`` but ``recurrent``, which is ``[M, G, N/G, N/G]``.

    ``recurrent[m, g, i, j]`` is the weight from neuron ``i`` to neuron ``j`` of group ``g``;
    decays are factors per tick, ``1 - 1/tau``.
    """

    membrane_decay: Tensor
    adaptation_decay: Tensor
    threshold: Tensor
    recurrent: Tensor


def alif(
    drive: Tensor,
    ticks: int,
    parameters: ALIFParameters,
    constants: ALIFConstants = ALIFConstants(),
) -> tuple[Tensor, Tensor]:
    """Run recurrent adaptive LIF neurons from rest.

    Per tick, with ``I = drive + W_rec s``: ``v = d_m v + (1 - d_m) I``; ``s = [v >= theta + a]``;
    ``v = v (1 - s)``; ``a = d_a a + step s``; readout ``v + gain I``. The surrogate gradient of a
    spike is ``1 / (1 + sharpness |u|)^2`` of the distance ``u`` to the threshold (SuperSpike).

    Args:
        drive: feed-forward current, ``[T, M, B, N]``, or ``[1, M, B, N]`` if it is constant.
        ticks: number of ticks ``T``.
        parameters: decays, thresholds and recurrent weights.
        constants: the fixed values.

    Returns:
        Spikes and membrane readout, each ``[T, M, B, N]``.

    Raises:
        ValueError: if ``drive`` has neither ``ticks`` nor 1 entries in its first dimension.
    """
    if drive.shape[0] not in (1, ticks):
        raise ValueError(f"drive has {drive.shape[0]} ticks; give {ticks}, or 1 if it is constant")
    run = _FusedALIF.apply if fused(drive, *parameters) else _alif_by_tick
    return run(drive, *parameters, ticks, constants)


def _recur(spike: Tensor, recurrent: Tensor) -> Tensor:
    """Recurrent current ``[M, B, N]`` of spikes ``[M, B, N]``, group by group."""
    groups, width = recurrent.shape[1:3]
    per_group = spike.unflatten(-1, (groups, width)).transpose(1, 2)  # [M, G, B, N/G]
    return (per_group @ recurrent).transpose(1, 2).flatten(-2)


def _alif_by_tick(drive, membrane_decay, adaptation_decay, threshold, recurrent, ticks, constants):
    d_m, d_a, theta = (p[:, None] for p in (membrane_decay, adaptation_decay, threshold))
    v = a = s = torch.zeros_like(drive[0])
    spikes, readouts = [], []
    for t in range(ticks):
        current = drive[t % drive.shape[0]] + _recur(s, recurrent)
        v = d_m * v + (1 - d_m) * current
        s = surrogate.superspike(v - theta - a, constants.sharpness)
        v = v * (1 - s)
        a = d_a * a + constants.adaptation_step * s
        spikes.append(s)
        readouts.append(v + constants.readout_gain * current)
    return torch.stack(spikes), torch.stack(readouts)


class _FusedALIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, drive, membrane_decay, adaptation_decay, threshold, recurrent, ticks, constants):
        shape = (ticks, *drive.shape[1:])
        current, before_reset, adaptation, spikes, readout = (drive.new_empty(shape) for _ in range(5))
        v, a = torch.zeros_like(drive[0]), torch.zeros_like(drive[0])
        per_neuron = [p.contiguous().numpy() for p in (membrane_decay, adaptation_decay, threshold)]
        for t in range(ticks):
            tick_drive = drive[t % drive.shape[0]]
            if t:
                torch.add(tick_drive, _recur(spikes[t - 1], recurrent), out=current[t])
            else:
                current[0] = tick_drive
            outputs = (x[t].numpy() for x in (before_reset, adaptation, spikes, readout))
            kernels.alif_forward(
                current[t].numpy(), *per_neuron, v.numpy(), a.numpy(), *outputs, *constants[:2]
            )
        ctx.constants, ctx.constant_drive = constants, drive.shape[0] == 1
        ctx.save_for_backward(
            current, before_reset, adaptation, spikes, membrane_decay, adaptation_decay, threshold, recurrent
        )
        return spikes, readout

    @staticmethod
    def backward(ctx, grad_spikes, grad_readout):
        current, before_reset, adaptation, spikes, *neuron, recurrent = ctx.saved_tensors
        ticks, members, _, neurons = current.shape
        groups, width = recurrent.shape[1:3]
        per_neuron = [p.contiguous().numpy() for p in neuron]
        grad_neuron = [torch.zeros(members, neurons) for _ in range(3)]
        grad_v, grad_a = torch.zeros_like(current[0]), torch.zeros_like(current[0])
        grad_current = torch.empty_like(current)
        backward_weights = recurrent.transpose(-1, -2)
        for t in reversed(range(ticks)):
            grad_s = grad_spikes[t]
            if t < ticks - 1:
                grad_s = grad_s + _recur(grad_current[t + 1], backward_weights)
            last_v = before_reset[t - 1] * (1 - spikes[t - 1]) if t else torch.zeros_like(current[0])
            saved = (x[t].numpy() for x in (current, before_reset, adaptation, spikes))
            kernels.alif_backward(
                grad_s.contiguous().numpy(),
                grad_readout[t].contiguous().numpy(),
                *saved,
                last_v.numpy(),
                *per_neuron,
                *(x.numpy() for x in (grad_v, grad_a, grad_current[t], *grad_neuron)),
                *ctx.constants,
            )
        grad_recurrent = torch.zeros_like(recurrent)
        if ticks > 1:
            by_group = [
                x.unflatten(-1, (groups, width)).permute(1, 3, 0, 2, 4).flatten(2, 3)  # [M, G, T*B, N/G]
                for x in (spikes[:-1], grad_current[1:])
            ]
            grad_recurrent = by_group[0].transpose(-1, -2) @ by_group[1]
        grad_drive = grad_current.sum(0, keepdim=True) if ctx.constant_drive else grad_current
        return grad_drive, *grad_neuron, grad_recurrent, None, None
