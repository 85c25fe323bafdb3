"""Leaky integrate-and-fire (LIF) neurons: current-based (`clif`) and adaptive, recurrent (`alif`).

Calling convention and shape letters: see `spiking_wm.neurons`. Each neuron is defined tick by tick in
PyTorch, for any device and precision. A second implementation, fused by `lif_kernels` for float32 on the
CPU, is used in training (`alif` here, `clif` in `clif_layers`). Tests compare the two.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from spiking_wm.neurons import lif_kernels as kernels
from spiking_wm.neurons import surrogate


def fused(*tensors: Tensor) -> bool:
    """True if the fused kernels support these tensors: float32 on the CPU."""
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors)


def check_ticks(drive: Tensor, ticks: int) -> None:
    """Check the first dimension of a drive.

    Raises:
        ValueError: if it is neither ``ticks`` nor 1.
    """
    if len(drive) not in (1, ticks):
        raise ValueError(f"drive has {len(drive)} ticks; give {ticks}, or 1 if it is constant")


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
    drive: Tensor,
    ticks: int,
    constants: CLIFConstants = CLIFConstants(),
    state: CLIFState | None = None,
) -> tuple[Tensor, CLIFState]:
    """Run current-based LIF neurons.

    Per tick: ``c = d_c c + drive``; ``v = d_v v (1 - s) + c``; ``s = [v > threshold]``
    (Tang et al. 2020, eq. 3-5). The surrogate gradient of a spike is 1 where the membrane
    potential is within 0.5 of the threshold, else 0.

    Args:
        drive: synaptic input, ``[T, ..., N]``, or ``[1, ..., N]`` if it is constant.
        ticks: number of ticks ``T``.
        constants: decay factors and threshold.
        state: state before the first tick; ``None`` is rest (all zero).

    Returns:
        Spikes ``[T, ..., N]`` (0 or 1) and the state after the last tick.

    Raises:
        ValueError: if ``drive`` has neither ``ticks`` nor 1 entries in its first dimension.
    """
    check_ticks(drive, ticks)
    if state is None:
        rest = torch.zeros_like(drive[0])
        state = CLIFState(rest, rest, rest)
    current, membrane, spike = state
    spikes = []
    for tick_drive in drive.expand(ticks, *drive.shape[1:]):
        current = constants.current_decay * current + tick_drive
        membrane = constants.membrane_decay * (membrane * (1 - spike)) + current
        # the step function fires at >= 0, the paper's neuron only above the threshold
        above = membrane - constants.threshold - 1e-9 * (membrane == constants.threshold)
        spike = surrogate.rectangle(above)
        spikes.append(spike)
    return torch.stack(spikes), CLIFState(current, membrane, spike)


# --- adaptive LIF, recurrent (world model) ------------------------------------------------------


class ALIFState(NamedTuple):
    """State of adaptive LIF neurons after a tick; each tensor is ``[M, B, N]``."""

    membrane: Tensor  # after the reset
    adaptation: Tensor  # rise of the threshold
    spike: Tensor


class ALIFOutput(NamedTuple):
    """Output of adaptive LIF neurons at every tick; each tensor is ``[T, M, B, N]``."""

    spikes: Tensor  # 0 or 1
    readout: Tensor  # membrane potential after the reset, plus the gain times the input current


class ALIFConstants(NamedTuple):
    """Threshold rise per spike, gain of the input in the readout, sharpness of the surrogate."""

    adaptation_step: float = 0.1
    readout_gain: float = 0.1
    sharpness: float = 10.0


class ALIFParameters(NamedTuple):
    """Learned parameters, each ``[M, N]`` except ``recurrent``, which is ``[M, G, N/G, N/G]``.

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
    state: ALIFState | None = None,
) -> tuple[ALIFOutput, ALIFState]:
    """Run recurrent adaptive LIF neurons.

    Per tick, with ``I = drive + W_rec s``: ``v = d_m v + (1 - d_m) I``; ``s = [v >= theta + a]``;
    ``v = v (1 - s)``; ``a = d_a a + step s``; readout ``v + gain I``. The surrogate gradient of a
    spike is ``1 / (1 + sharpness |u|)^2`` of the distance ``u`` to the threshold (SuperSpike).

    Args:
        drive: feed-forward current, ``[T, M, B, N]``, or ``[1, M, B, N]`` if it is constant.
        ticks: number of ticks ``T``.
        parameters: decays, thresholds and recurrent weights.
        constants: the fixed values.
        state: state before the first tick; ``None`` is rest (all zero). Fused kernels support rest only.

    Returns:
        Spikes and membrane readout of every tick, and the state after the last tick.

    Raises:
        ValueError: if ``drive`` has neither ``ticks`` nor 1 entries in its first dimension.
    """
    check_ticks(drive, ticks)
    if state is not None or not fused(drive, *parameters):
        return _alif_by_tick(drive, ticks, parameters, constants, state)
    spikes, readout, membrane, adaptation = _FusedALIF.apply(drive, *parameters, ticks, constants)
    return ALIFOutput(spikes, readout), ALIFState(membrane, adaptation, spikes[-1])


def _recur(spike: Tensor, recurrent: Tensor) -> Tensor:
    """Recurrent current ``[M, B, N]`` of spikes ``[M, B, N]``, group by group."""
    groups, width = recurrent.shape[1:3]
    per_group = spike.unflatten(-1, (groups, width)).transpose(1, 2)  # [M, G, B, N/G]
    return (per_group @ recurrent).transpose(1, 2).flatten(-2)


def _alif_by_tick(
    drive: Tensor,
    ticks: int,
    parameters: ALIFParameters,
    constants: ALIFConstants,
    state: ALIFState | None = None,
) -> tuple[ALIFOutput, ALIFState]:
    d_m, d_a, theta = (p[:, None] for p in parameters[:3])
    rest = torch.zeros_like(drive[0])
    v, a, s = state or (rest, rest, rest)
    spikes, readouts = [], []
    for t in range(ticks):
        current = drive[t % drive.shape[0]] + _recur(s, parameters.recurrent)
        v = d_m * v + (1 - d_m) * current
        s = surrogate.superspike(v - theta - a, constants.sharpness)
        v = v * (1 - s)
        a = d_a * a + constants.adaptation_step * s
        spikes.append(s)
        readouts.append(v + constants.readout_gain * current)
    return ALIFOutput(torch.stack(spikes), torch.stack(readouts)), ALIFState(v, a, s)


class _FusedALIF(torch.autograd.Function):
    """`alif` from rest: spikes and readout ``[T, M, B, N]``, membrane and adaptation ``[M, B, N]``."""

    @staticmethod
    def forward(
        ctx: Any,
        drive: Tensor,
        membrane_decay: Tensor,
        adaptation_decay: Tensor,
        threshold: Tensor,
        recurrent: Tensor,
        ticks: int,
        constants: ALIFConstants,
    ) -> tuple[Tensor, ...]:
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
        return spikes, readout, v, a

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_spikes, grad_readout, *grad_state = grads
        current, before_reset, adaptation, spikes, *neuron, recurrent = ctx.saved_tensors
        ticks, members, _, neurons = current.shape
        groups, width = recurrent.shape[1:3]
        per_neuron = [p.contiguous().numpy() for p in neuron]
        grad_neuron = [torch.zeros(members, neurons) for _ in range(3)]
        grad_v, grad_a = (g.clone(memory_format=torch.contiguous_format) for g in grad_state)
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
