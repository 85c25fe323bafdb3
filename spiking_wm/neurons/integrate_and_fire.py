"""Integrate-and-fire neurons as deep spiking Q-networks have them, over all ticks at once.

``T`` ticks, ``B`` batch (any number of dimensions), ``N`` neurons.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spiking_wm.neurons import integrate_and_fire_kernels as kernels
from spiking_wm.neurons import probe, surrogate
from spiking_wm.neurons.lif import fused


class Constants(NamedTuple):
    """``h = v + gain x - leak v``; a spike where ``h >= threshold``, then ``v = 0``.

    With ``soft`` a spike takes the threshold from ``h`` instead. With ``residual`` what has not become a
    spike counts where rates are read out ("robust representation", Tan et al. 2021), so that they are as
    exact as the currents. With ``waits`` a layer fires when all that the one before has to say has come, not
    at what comes early and would be taken back: it is then as exact as its ticks.
    """

    gain: float
    leak: float
    threshold: float = 1.0
    soft: bool = False
    start: float = 0.0  # potential at rest
    residual: bool = False
    waits: bool = False


LIF = Constants(0.5, 0.5)  # time constant of two ticks
IF = Constants(1.0, 0.0)
LIF_SOFT = Constants(1.0, 0.1, soft=True, start=0.5)  # of ten ticks; forgets little as it fires
CONVERTED = Constants(1.0, 0.0, soft=True, start=0.5, residual=True)  # what ReLU becomes
ROUNDED = Constants(1.0, 0.0, soft=True, start=0.5, waits=True)  # what rounded activity becomes
KINDS = {"lif": LIF, "lif_soft": LIF_SOFT, "if": IF, "converted": CONVERTED, "rounded": ROUNDED}


def fire(drive: Tensor, ticks: int, constants: Constants) -> tuple[Tensor, Tensor]:
    """Let neurons that are at rest take currents; what they do, and how they end.

    Gradients go through resets too, and through spikes by ``1 / (1 + (pi (h - threshold))^2)`` (arctan's).

    Args:
        drive: currents ``[T, B, N]``, or ``[1, B, N]`` if they do not change.
        ticks: ``T``.
        constants: the neurons'.

    Returns:
        Spikes ``[T, B, N]`` (0 or 1), and potentials ``[B, N]`` after them.
    """
    if fused(drive):
        flat = drive.reshape(len(drive), drive.shape[1], -1)
        spikes, potential = _Fused.apply(flat, ticks, constants)
        spikes, potential = spikes.view(ticks, *drive.shape[1:]), potential.view(drive.shape[1:])
    else:
        spikes, potential = _by_tick(drive, ticks, constants)
    probe.fired(spikes)
    return spikes, potential


def _by_tick(drive: Tensor, ticks: int, c: Constants) -> tuple[Tensor, Tensor]:
    potential, spikes = torch.full_like(drive[0], c.start), []
    for current in drive.expand(ticks, *drive.shape[1:]):
        before = potential + c.gain * current - c.leak * potential
        fired = surrogate.arc_tangent(before - c.threshold)
        potential = before - fired * (c.threshold if c.soft else before)
        spikes.append(fired)
    return torch.stack(spikes), potential


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx, drive: Tensor, ticks: int, c: Constants):
        constants, drive = np.array(c[:5], np.float32), drive.detach().contiguous()
        potential, spikes = torch.empty_like(drive[0]), drive.new_empty(ticks, *drive.shape[1:])
        kernels.integrate_and_fire(*(x.numpy() for x in (drive, potential, spikes)), constants)
        ctx.save_for_backward(drive)
        ctx.constants = constants
        return spikes, potential

    @staticmethod
    def backward(ctx, grad_spikes: Tensor, grad_potential: Tensor):
        (drive,) = ctx.saved_tensors
        grad_drive = torch.empty_like(drive)
        grad_potential = grad_potential.clone(memory_format=torch.contiguous_format)
        arrays = (grad_spikes.contiguous(), drive, grad_potential, grad_drive)
        kernels.integrate_and_fire_back(*(x.numpy() for x in arrays), ctx.constants)
        return grad_drive, None, None
