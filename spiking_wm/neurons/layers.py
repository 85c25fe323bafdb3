"""Layers over ticks: spiking ones, and dense ones of the same form to compare them with.

Activity is ``[T, ..., N]``; an input with one tick where ``T > 1`` stands for one that does not change,
and is multiplied once.
"""

import torch
from torch import Tensor, nn

from spiking_wm.neurons.compartments import APICAL, KINDS, LAYERED, MultiCompartment
from spiking_wm.neurons.sizes import RSSMSizes

_FLOOR = 1e-3**0.5  # of normalisations
_STEEP = 5.0  # how much steeper gates are that are to keep what there is
_SLOW = 1.0  # taken from what opens a GRU's update gate


class PortNorm(nn.Module):
    """Layer normalisation of the currents of each port apart, over its neurons ``[..., P N]``.

    Args:
        ports: ``P``.
        neurons: ``N``.
        gain, bias: to begin with (paper: the threshold, 0.5, and 0).
        floor: deviation of currents below which they are not blown up.
    """

    def __init__(self, ports: int, neurons: int, gain: float, bias: float = 0.0, floor: float = _FLOOR):
        super().__init__()
        self.shape, self.epsilon = (ports, neurons), floor**2
        self.gain = nn.Parameter(torch.full(self.shape, gain))
        self.bias = nn.Parameter(torch.full(self.shape, bias))

    def forward(self, currents: Tensor) -> Tensor:
        """Normalised currents ``[..., P N]``."""
        ports, neurons = self.shape
        if ports == 1:
            return nn.functional.layer_norm(currents, (neurons,), self.gain[0], self.bias[0], self.epsilon)
        by_port = nn.functional.layer_norm(currents.unflatten(-1, self.shape), (neurons,), eps=self.epsilon)
        return torch.addcmul(self.bias, by_port, self.gain).flatten(-2)


class SpikingLayer(nn.Module):
    """Linear, normalised, neurons that start from rest.

    Args:
        inputs: width.
        sizes: of the layer.
    """

    def __init__(self, inputs: int, sizes: RSSMSizes):
        super().__init__()
        self.linear = nn.Linear(inputs, sizes.hidden, bias=False)
        self.norm = PortNorm(1, sizes.hidden, sizes.gain, sizes.bias)
        self.neurons = LAYERED[sizes.layered](sizes.hidden)
        self.ticks, self.averaged = sizes.ticks, sizes.averaged

    def forward(self, activity: Tensor, also: Tensor | None = None) -> Tensor:
        """Spikes ``[T, ..., N]``, or rates ``[1, ..., N]``, for ``[T or 1, ..., inputs]``.

        Args:
            activity: of what it sees.
            also: added to the currents, ``[..., N]``.
        """
        currents = self.linear(activity)
        drive = self.norm(currents if also is None else currents + also)
        return self.neurons.from_rest(drive, self.ticks, self.averaged)


class DenseLayer(nn.Module):
    """Linear, normalised, SiLU: what takes a `SpikingLayer`'s place where nothing spikes."""

    def __init__(self, inputs: int, sizes: RSSMSizes):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, sizes.hidden, bias=False), PortNorm(1, sizes.hidden, 1.0)

    def forward(self, activity: Tensor, also: Tensor | None = None) -> Tensor:
        """``[1, ..., N]`` for ``[1, ..., inputs]``; ``also`` is added before the normalisation."""
        currents = self.linear(activity)
        return nn.functional.silu(self.norm(currents if also is None else currents + also))


class SpikingCell(nn.Module):
    """Recurrent neurons of a kind, with dendrites where it has them.

    Basal and apical dendrites see the input and the cell's own last spikes, tick by tick; the soma, or what
    takes the only current there is, sees the input (the last spikes too where it is the only port).

    Where potentials are carried they go on from step to step; else every step starts from rest, and what is
    remembered is spikes alone (as in the published code). With ``memory``, gates of MCNs begin nearly closed,
    each so that it keeps what there is for some time of 1 to ``memory`` steps (as gated units in Tallec &
    Ollivier 2018), and steep, so that they can open. With ``synapses``, spikes (or rates) are handed on as
    synapses filter them, each neuron's with a time constant of its own, of 0 to so many steps.

    Args:
        inputs: width.
        sizes: of the cell.
    """

    def __init__(self, inputs: int, sizes: RSSMSizes):
        super().__init__()
        neurons = sizes.neurons
        self.neurons, self.carried = KINDS[sizes.kind](neurons), sizes.carried
        self.ticks, self.averaged = sizes.ticks, sizes.averaged
        ports = self.neurons.ports
        self.recurrent_ports = max(ports - 1, 1)
        self.of_input = nn.Linear(inputs, ports * neurons, bias=False)
        self.of_spikes = nn.Linear(neurons, self.recurrent_ports * neurons, bias=False)
        self.norm = PortNorm(ports, neurons, sizes.gain, floor=sizes.floor)
        times = torch.linspace(0, 1, neurons).square() * sizes.synapses  # most are short
        self.register_buffer("kept", times / (1 + times) if sizes.synapses else None, persistent=False)
        if sizes.memory and isinstance(self.neurons, MultiCompartment):
            with torch.no_grad():
                self.norm.bias[APICAL] = -_times(neurons, sizes.memory).log()
                self.norm.gain[APICAL] *= _STEEP

    def at_rest(self, *batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes ``[T, B, N]`` (or rates) and potentials ``[S, B, N]`` of a cell that has not been active."""
        spikes = like.new_zeros(1 if self.averaged else self.ticks, *batch, self.neurons.neurons)
        return spikes, self.neurons.at_rest(*batch, like=like)

    def enter(self, inputs: Tensor) -> Tensor:
        """Currents ``[..., P N]`` of inputs; of many steps at once where they are known."""
        return self.of_input(inputs)

    def forward(self, currents: Tensor, spikes: Tensor, potentials: Tensor) -> tuple[Tensor, Tensor]:
        """Go on by one step: spikes ``[T, B, N]`` (or rates ``[1, B, N]``) and potentials ``[S, B, N]``.

        Args:
            currents: of the inputs, ``[T or 1, B, P N]``.
            spikes: of the step before, or rates, filtered where synapses do that.
            potentials: after the step before.
        """
        own = self.of_spikes(spikes)
        if own.shape[-1] < currents.shape[-1]:  # none from spikes to the soma
            own = nn.functional.pad(own, (0, currents.shape[-1] - own.shape[-1]))
        if not self.carried:
            potentials = torch.zeros_like(potentials)
        fire = self.neurons.rates if self.averaged else self.neurons
        fired, potentials = fire(self.norm(currents + own), potentials, self.ticks)
        return fired if self.kept is None else fired.lerp(spikes, self.kept.to(fired)), potentials


def _times(units: int, memory: float) -> Tensor:
    """For how many steps units keep what there is, to begin with: any number up to ``memory``."""
    return 1 + torch.rand(units) * (memory - 1)


class GRUCell(nn.Module):
    """A gated recurrent unit with layer normalisation, of the same form: one tick, no potentials.

    With ``memory`` its gates begin as those of multi-compartment neurons do.
    """

    def __init__(self, inputs: int, sizes: RSSMSizes):
        super().__init__()
        units = self.units = sizes.neurons
        self.of_input = nn.Linear(inputs, 3 * units, bias=False)
        self.of_state = nn.Linear(units, 3 * units, bias=False)
        self.norm = PortNorm(1, 3 * units, 1.0)
        if sizes.memory:
            with torch.no_grad():  # _SLOW is taken from it in every step
                self.norm.bias[0, 2 * units :] = _SLOW - _times(units, sizes.memory).log()

    def at_rest(self, *batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """State ``[1, B, N]``, and none."""
        return like.new_zeros(1, *batch, self.units), like.new_zeros(0, *batch, self.units)

    def enter(self, inputs: Tensor) -> Tensor:
        """What inputs add to the gates, ``[..., 3 N]``."""
        return self.of_input(inputs)

    def forward(self, entered: Tensor, state: Tensor, nothing: Tensor) -> tuple[Tensor, Tensor]:
        """Go on by one step: state ``[1, B, N]``, and nothing."""
        reset, candidate, update = self.norm(entered + self.of_state(state)).chunk(3, -1)
        candidate = (reset.sigmoid() * candidate).tanh()
        update = (update - _SLOW).sigmoid()  # keeps more to begin with (Hafner et al. 2023)
        return torch.lerp(state, candidate, update), nothing


LAYERS = {True: SpikingLayer, False: DenseLayer}  # by whether it spikes
CELLS = {True: SpikingCell, False: GRUCell}
