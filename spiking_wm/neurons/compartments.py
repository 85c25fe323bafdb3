"""Neurons with one to three compartments and explicit state, run over all ticks of a step.

Shapes: ``P`` input ports for currents, ``S`` state compartments, ``N`` neurons, ``T`` ticks, ``B`` batch (any
number of dimensions). Each kind of neuron is defined tick by tick in PyTorch, for any device and precision.
In float32 on the CPU, the fused kernels of `compartment_kernels` compute the same. Tests compare both with
scalar loops.

All kinds except `IntegrateAndFire` have the same threshold and start from 0. The surrogate gradient of their
spikes is ``max(0, 2 - 4 |x|)`` (QGate), where ``x`` is the potential minus the threshold. Resets to 0 have no
gradient. Resets by subtraction have one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from spiking_wm.neurons import compartment_kernels as kernels
from spiking_wm.neurons import probe
from spiking_wm.neurons.lif import fused

THRESHOLD = 0.5
TAU = 2.0  # time constant of all membranes, in ticks
APICAL = 1  # index of the gating port, and compartment, of MCNs


class _Spike(torch.autograd.Function):
    """1 above 0, else 0; the gradient is QGate's."""

    @staticmethod
    def forward(ctx: Any, above: Tensor) -> Tensor:
        ctx.save_for_backward(above)
        return (above > 0).to(above.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (above,) = ctx.saved_tensors
        return grad * (2 - 4 * above.abs()).clamp_min(0)


class _Rounded(torch.autograd.Function):
    """Mean rate of `IntegrateAndFire` from rest, for a constant current."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, ticks: int) -> Tensor:
        ctx.save_for_backward(current)
        return (current * ticks).add_(0.5).floor_().clamp_(0, ticks).div_(ticks)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (current,) = ctx.saved_tensors
        return grad * ((current > 0) & (current < 1)), None


class _LIFRates(torch.autograd.Function):
    """Mean rates ``[B, N]`` of `LIF` from rest, for constant currents ``[B, N]``."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, ticks: int, constants: np.ndarray) -> Tensor:
        rates, slopes = torch.empty_like(currents), torch.empty_like(currents)
        arrays = (x.detach().numpy() for x in (currents, rates, slopes))
        kernels.lif_rates(*arrays, ticks, constants)
        ctx.save_for_backward(slopes)
        return rates

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return grad * slopes, None, None


spike = _Spike.apply
"""Spikes (1 where the argument is above 0, else 0) with the surrogate gradient QGate."""


class Neurons(torch.nn.Module, ABC):
    """``N`` neurons of one kind.

    Args:
        neurons: ``N``.
    """

    ports: ClassVar[int] = 1
    compartments: ClassVar[int] = 1
    kernels: ClassVar[tuple[Callable, Callable]]
    saves: ClassVar[int] = 1  # values per neuron and tick that the backward pass needs
    constants: tuple[float, ...] = (1 / TAU, THRESHOLD)

    def __init__(self, neurons: int):
        super().__init__()
        self.neurons = neurons

    @abstractmethod
    def tick(self, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One tick: spikes ``[B, N]`` and next state ``[S, B, N]``, for currents ``[B, P N]``."""

    def parameters_by_neuron(self) -> Tensor:
        """Learned parameters of the neurons themselves, ``[Q, N]``."""
        return torch.empty(0, self.neurons)

    def at_rest(self, *batch: int, like: Tensor | None = None) -> Tensor:
        """Initial state ``[S, B, N]``, of the type and device of ``like``."""
        shape = (self.compartments, *batch, self.neurons)
        return torch.zeros(shape) if like is None else like.new_zeros(shape)

    def forward(self, drive: Tensor, state: Tensor, ticks: int | None = None) -> tuple[Tensor, Tensor]:
        """Spikes ``[T, B, N]`` (0 or 1) and state ``[S, B, N]`` after the last tick.

        Args:
            drive: currents ``[T, B, P N]``, one port after the other; ``[1, B, P N]`` if they are constant.
            state: before the first tick, ``[S, B, N]``.
            ticks: ``T``, if the drive is constant.
        """
        ticks = ticks or len(drive)
        if fused(drive, state):
            flat = drive.reshape(len(drive), -1, drive.shape[-1])
            flat_state = state.reshape(len(state), -1, self.neurons)
            spikes, after = _Fused.apply(flat, flat_state, self.parameters_by_neuron(), self, ticks)
            spikes, after = spikes.view(ticks, *drive.shape[1:-1], self.neurons), after.view(state.shape)
        else:
            spikes, after = self._by_tick(drive.expand(ticks, *drive.shape[1:]), state)
        probe.fired(spikes)
        return spikes, after

    def _by_tick(self, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        spikes = []
        for current in drive:
            fired, state = self.tick(current, state)
            spikes.append(fired)
        return torch.stack(spikes), state

    def rates(self, drive: Tensor, state: Tensor, ticks: int) -> tuple[Tensor, Tensor]:
        """As `forward`, with the mean of spikes over ticks ``[1, B, N]`` instead of spikes."""
        spikes, state = self(drive, state, ticks)
        return spikes.mean(0, keepdim=True), state

    def from_rest(self, drive: Tensor, ticks: int, averaged: bool) -> Tensor:
        """Run from rest; returns spikes ``[T, B, N]`` or, if ``averaged``, their mean ``[1, B, N]``."""
        rest = self.at_rest(*drive.shape[1:-1], like=drive)
        return (self.rates if averaged else self)(drive, rest, ticks)[0]


class LIF(Neurons):
    """``u += (x - u) / tau``; ``s = [u > threshold]``; ``u = 0`` where it fired."""

    kernels = kernels.lif, kernels.lif_back

    def tick(self, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `Neurons.tick`."""
        (u,) = state
        u = u + (drive - u) / TAU
        s = spike(u - THRESHOLD)
        return s, (u * (1 - s.detach()))[None]

    def from_rest(self, drive: Tensor, ticks: int, averaged: bool) -> Tensor:
        """See `Neurons.from_rest`; mean rates of a constant current are computed without storing ticks."""
        if len(drive) > 1 or not averaged or not fused(drive):
            return super().from_rest(drive, ticks, averaged)
        if probe.heard():  # spikes are for the probe only: their sum over ticks has other rounding errors
            with torch.no_grad():
                super().from_rest(drive, ticks, averaged)
        flat = drive.reshape(-1, self.neurons).contiguous()
        return _LIFRates.apply(flat, ticks, np.array(self.constants, np.float32)).view(drive.shape)


class IntegrateAndFire(Neurons):
    """``u += x``; ``s = [u >= 1]``; ``u -= s``: without leak, starting from half the threshold.

    A constant current is rounded to a rate: ``T`` ticks give ``T x`` spikes, rounded and clipped to 0 to
    ``T``. The surrogate gradient is that of the clipped identity: 1 if ``0 < x < 1``, else 0. The state has
    no gradient.
    """

    kernels = kernels.integrate_and_fire, kernels.integrate_and_fire_back
    constants = (0.0, 1.0)

    def at_rest(self, *batch: int, like: Tensor | None = None) -> Tensor:
        """See `Neurons.at_rest`."""
        return super().at_rest(*batch, like=like) + 0.5

    def tick(self, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `Neurons.tick`."""
        u = state[0].detach() + drive.detach()
        s = (u >= 1).to(u.dtype)
        passed = torch.where((drive > 0) & (drive < 1), drive, 0.0)
        return s + passed - passed.detach(), (u - s)[None]

    def from_rest(self, drive: Tensor, ticks: int, averaged: bool) -> Tensor:
        """See `Neurons.from_rest`; mean rates of a constant current are computed in closed form."""
        if len(drive) > 1 or not averaged:
            return super().from_rest(drive, ticks, averaged)
        if probe.heard():  # spikes are for the probe only: their sum over ticks has other rounding errors
            with torch.no_grad():
                super().from_rest(drive, ticks, averaged)
        return _Rounded.apply(drive, ticks)


class AdaptiveLIF(Neurons):
    """LIF with a threshold that rises by ``step`` per spike and decays over ``adaptation`` ticks.

    ``s = [u > threshold + a]``; ``a = (1 - 1/adaptation) a + step s`` (Bellec et al. 2018).
    """

    compartments = 2
    kernels = kernels.adaptive_lif, kernels.adaptive_lif_back
    adaptation, step = 100.0, 0.2
    constants = (1 / TAU, THRESHOLD, 1 - 1 / adaptation, step)

    def tick(self, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `Neurons.tick`."""
        u, a = state
        u = u + (drive - u) / TAU
        s = spike(u - THRESHOLD - a)
        return s, torch.stack([u * (1 - s.detach()), (1 - 1 / self.adaptation) * a + self.step * s])


class TwoCompartments(Neurons):
    """Dendrite ``d`` and soma ``u`` that drive each other, without leak (TC-LIF, Zhang et al. 2023).

    ``d += back u + x - reset s``; ``u += forth d - threshold s``, with the spikes ``s`` of the tick before;
    ``s = [u > threshold]``. ``back``, in -1 to 0, and ``forth``, in 0 to 1, are learned.
    """

    compartments, saves = 2, 3
    kernels = kernels.two_compartments, kernels.two_compartments_back
    reset = 0.5
    constants = (1 / TAU, THRESHOLD, reset)

    def __init__(self, neurons: int):
        super().__init__(neurons)
        self.coupling = torch.nn.Parameter(torch.zeros(2, neurons))

    def parameters_by_neuron(self) -> Tensor:
        """``back`` and ``forth``, ``[2, N]``."""
        back, forth = self.coupling.sigmoid()
        return torch.stack([-back, forth])

    def tick(self, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `Neurons.tick`."""
        (d, u), (back, forth) = state, self.parameters_by_neuron().to(drive)
        fired = (u > THRESHOLD).to(u.dtype)
        d = d + back * u + drive - self.reset * fired
        u = u + forth * d - THRESHOLD * fired
        return spike(u - THRESHOLD), torch.stack([d, u])


class MultiCompartment(Neurons):
    """Basal dendrite ``b``, gating apical dendrite ``a``, and soma ``u`` (MCN, Sun et al. 2025).

    ``b += (x_b - b) / tau``; ``a += (x_a - a) / tau``; ``z = sigmoid(a)``; ``s = [u > threshold]``.

    Args:
        neurons: ``N``.
        gated_leak: True as in the published code: ``u += z (b - u + x_s - u) / tau``, so a closed gate holds
            ``u``. False as in the paper, with conductances and beta of 1:
            ``u += (z (b - u + x_s) - u) / tau``.
        soft: False as published: a spike sets ``b``, ``a`` and ``u`` to 0. True: it only subtracts the
            threshold from ``u``.
    """

    ports, compartments, saves = 3, 3, 3
    kernels = kernels.multi_compartment, kernels.multi_compartment_back

    def __init__(self, neurons: int, gated_leak: bool = True, soft: bool = False):
        super().__init__(neurons)
        self.gated_leak, self.soft = gated_leak, soft
        self.constants = (1 / TAU, THRESHOLD, float(gated_leak), float(soft))

    def tick(self, drive: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See `Neurons.tick`."""
        to_basal, to_apical, to_soma = drive.chunk(3, -1)
        basal, apical, u = state
        basal, apical = basal + (to_basal - basal) / TAU, apical + (to_apical - apical) / TAU
        gate, leak = apical.sigmoid(), float(self.gated_leak)
        u = u + (gate * (basal - u + to_soma - leak * u) - (1 - leak) * u) / TAU
        s = spike(u - THRESHOLD)
        if self.soft:
            return s, torch.stack([basal, apical, u - THRESHOLD * s])
        return s, torch.stack([basal, apical, u]) * (1 - s.detach())


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, drive: Tensor, state: Tensor, parameters: Tensor, neurons: Neurons, ticks: int
    ) -> tuple[Tensor, Tensor]:
        batch = drive.shape[1]
        spikes = drive.new_empty(ticks, batch, neurons.neurons)
        saved = drive.new_empty(ticks, neurons.saves, batch, neurons.neurons)
        after = state.clone(memory_format=torch.contiguous_format)
        arrays = (drive.contiguous(), after, spikes, saved, parameters.contiguous())
        constants = np.array(neurons.constants, np.float32)
        neurons.kernels[0](*(x.detach().numpy() for x in arrays), constants)
        ctx.save_for_backward(saved, parameters)
        ctx.neurons, ctx.constants, ctx.constant_drive = neurons, constants, len(drive) < ticks
        return spikes, after

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor, grad_after: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None, None]:
        saved, parameters = ctx.saved_tensors
        ticks, batch, width = grad_spikes.shape
        grad_drive = saved.new_empty(ticks, batch, ctx.neurons.ports * width)
        grad_state = grad_after.clone(memory_format=torch.contiguous_format)
        grad_parameters = torch.zeros_like(parameters)
        arrays = (grad_spikes.contiguous(), saved, grad_state, grad_drive, grad_parameters, parameters)
        ctx.neurons.kernels[1](*(x.detach().numpy() for x in arrays), ctx.constants)
        if ctx.constant_drive:
            grad_drive = grad_drive.sum(0, keepdim=True)
        return grad_drive, grad_state, grad_parameters, None, None


KINDS: dict[str, Callable[[int], Neurons]] = {
    "lif": LIF,
    "adaptive_lif": AdaptiveLIF,
    "two_compartments": TwoCompartments,
    "mcn": MultiCompartment,
    "mcn_paper": lambda neurons: MultiCompartment(neurons, gated_leak=False),
    "mcn_soft": lambda neurons: MultiCompartment(neurons, soft=True),
}
"""Kinds for recurrent cells, by name."""
LAYERED: dict[str, Callable[[int], Neurons]] = {"lif": LIF, "integrate_and_fire": IntegrateAndFire}
"""Kinds for feed-forward layers, which start from rest in every environment step, by name."""
