"""Integrate-and-fire neurons of deep spiking Q-networks, over all ticks at once.

``T`` ticks, ``B`` batch (any number of dimensions), ``N`` neurons. Calling convention: see
`spiking_wm.neurons`. `fire` is defined tick by tick; `integrate_and_fire_kernels` fuses it for float32 on
the CPU.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from spiking_wm.neurons import integrate_and_fire_kernels as kernels
from spiking_wm.neurons import probe, surrogate
from spiking_wm.neurons.lif import check_ticks, fused


class Constants(NamedTuple):
    """``h = v + gain x - leak v``; a spike if ``h >= threshold``, then ``v = 0``.

    ``soft``: a spike subtracts the threshold from ``h`` instead. ``residual``: the potential after the last
    tick is added to the rates in the read-out ("robust representation", Tan et al. 2021), so rates are as
    exact as currents. ``waits``: the input of a layer is the mean current over all ticks of the previous
    layer, so it does not fire on early input that later input cancels; its error is at most that of rounding
    to ``T`` levels.
    """

    gain: float
    leak: float
    threshold: float = 1.0
    soft: bool = False
    start: float = 0.0  # initial potential ``v``
    residual: bool = False
    waits: bool = False


LIF = Constants(0.5, 0.5)  # time constant of two ticks
IF = Constants(1.0, 0.0)
LIF_SOFT = Constants(1.0, 0.1, soft=True, start=0.5)  # time constant of ten ticks
CONVERTED = Constants(1.0, 0.0, soft=True, start=0.5, residual=True)  # converted from ReLU units
ROUNDED = Constants(1.0, 0.0, soft=True, start=0.5, waits=True)  # converted from units with rounded activity
KINDS = {"lif": LIF, "lif_soft": LIF_SOFT, "if": IF, "converted": CONVERTED, "rounded": ROUNDED}


class State(NamedTuple):
    """State of integrate-and-fire neurons after a tick."""

    potential: Tensor  # after the reset, [B, N]


def fire(drive: Tensor, ticks: int, constants: Constants, state: State | None = None) -> tuple[Tensor, State]:
    """Run integrate-and-fire neurons.

    The surrogate gradient of a spike is ``1 / (1 + (pi (h - threshold))^2)`` (arctangent, Fang et al. 2021);
    gradients go through resets too.

    Args:
        drive: currents ``[T, B, N]``, or ``[1, B, N]`` if they are constant.
        ticks: number of ticks ``T``.
        constants: of the neurons.
        state: state before the first tick; ``None`` is rest (``constants.start``), which alone runs fused.

    Returns:
        Spikes ``[T, B, N]`` (0 or 1) and the state after the last tick.

    Raises:
        ValueError: if ``drive`` has neither ``ticks`` nor 1 entries in its first dimension.
    """
    check_ticks(drive, ticks)
    if state is None and fused(drive):
        flat = drive.reshape(len(drive), drive.shape[1], -1)
        spikes, potential = _Fused.apply(flat, ticks, constants)
        spikes, state = spikes.view(ticks, *drive.shape[1:]), State(potential.view(drive.shape[1:]))
    else:
        spikes, state = _by_tick(drive, ticks, constants, state)
    probe.fired(spikes)
    return spikes, state


def _by_tick(drive: Tensor, ticks: int, c: Constants, state: State | None = None) -> tuple[Tensor, State]:
    potential = torch.full_like(drive[0], c.start) if state is None else state.potential
    spikes = []
    for current in drive.expand(ticks, *drive.shape[1:]):
        before = potential + c.gain * current - c.leak * potential
        fired = surrogate.arc_tangent(before - c.threshold)
        potential = before - fired * (c.threshold if c.soft else before)
        spikes.append(fired)
    return torch.stack(spikes), State(potential)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: Tensor, ticks: int, c: Constants) -> tuple[Tensor, Tensor]:
        constants, drive = np.array(c[:5], np.float32), drive.detach().contiguous()
        potential, spikes = torch.empty_like(drive[0]), drive.new_empty(ticks, *drive.shape[1:])
        kernels.integrate_and_fire(*(x.numpy() for x in (drive, potential, spikes)), constants)
        ctx.save_for_backward(drive)
        ctx.constants = constants
        return spikes, potential

    @staticmethod
    def backward(ctx: Any, grad_spikes: Tensor, grad_potential: Tensor) -> tuple[Tensor | None, ...]:
        (drive,) = ctx.saved_tensors
        grad_drive = torch.empty_like(drive)
        grad_potential = grad_potential.clone(memory_format=torch.contiguous_format)
        arrays = (grad_spikes.contiguous(), drive, grad_potential, grad_drive)
        kernels.integrate_and_fire_back(*(x.numpy() for x in arrays), ctx.constants)
        return grad_drive, None, None
