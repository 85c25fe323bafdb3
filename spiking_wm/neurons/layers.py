"""Spiking layers and recurrent cells over ticks, and dense counterparts without spikes.

Activity is ``[T, ..., N]`` for ``T`` ticks. An input ``[1, ..., N]`` is constant over ticks and is multiplied
by the weights once.
"""

import torch
from torch import Tensor, nn

from spiking_wm.neurons.compartments import APICAL, KINDS, LAYERED, MultiCompartment
from spiking_wm.neurons.options import NeuronOptions

_FLOOR = 1e-3**0.5  # smallest standard deviation that currents are divided by
_GATE_GAIN = 5.0  # factor on the initial gain of gates that start nearly closed, so that they can open
_UPDATE_BIAS = 1.0  # subtracted from the logit of a GRU's update gate (Hafner et al. 2023)


class PortNorm(nn.Module):
    """Layer normalisation of currents ``[..., P N]`` over the neurons of each port.

    Args:
        ports: ``P``.
        neurons: ``N``.
        gain, bias: initial values (paper: the threshold, 0.5, and 0).
        floor: smallest standard deviation for the division; its square is the usual epsilon.
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
    """Linear map, normalisation, and spiking neurons that start each step from rest.

    Args:
        inputs: width of the input.
        neurons: ``N``.
        options: kind and initial constants of the neurons.
    """

    def __init__(self, inputs: int, neurons: int, options: NeuronOptions):
        super().__init__()
        self.linear = nn.Linear(inputs, neurons, bias=False)
        self.norm = PortNorm(1, neurons, options.gain, options.layer_bias)
        self.neurons = LAYERED[options.layer_kind](neurons)
        self.ticks, self.averaged = options.ticks, options.averaged

    def forward(self, activity: Tensor, also: Tensor | None = None) -> Tensor:
        """Spikes ``[T, ..., N]``, or mean rates ``[1, ..., N]``.

        Args:
            activity: input, ``[T or 1, ..., inputs]``.
            also: currents added before the normalisation, ``[..., N]``.
        """
        currents = self.linear(activity)
        drive = self.norm(currents if also is None else currents + also)
        return self.neurons.from_rest(drive, self.ticks, self.averaged)


class DenseLayer(nn.Module):
    """Linear map, normalisation and SiLU: counterpart of `SpikingLayer` without spikes."""

    def __init__(self, inputs: int, neurons: int, options: NeuronOptions):
        super().__init__()
        self.linear, self.norm = nn.Linear(inputs, neurons, bias=False), PortNorm(1, neurons, 1.0)

    def forward(self, activity: Tensor, also: Tensor | None = None) -> Tensor:
        """Activity ``[1, ..., N]`` for ``[1, ..., inputs]``; arguments as in `SpikingLayer.forward`."""
        currents = self.linear(activity)
        return nn.functional.silu(self.norm(currents if also is None else currents + also))


class SpikingCell(nn.Module):
    """Recurrent neurons of one kind (`compartments.KINDS`).

    Basal and apical dendrites receive the input and the cell's spikes of the previous step. The soma of a
    neuron with dendrites receives only the input. A neuron with one port receives both at this port.

    - ``options.carried``: potentials are kept from step to step. Without it, every step starts from rest and
      only spikes are passed on, as in the published code.
    - ``options.gate_time``: the gates of multi-compartment neurons start nearly closed and keep the soma's
      potential for a time drawn from 1 to ``gate_time`` steps (chrono initialisation, Tallec & Ollivier
      2018), with a larger gain.
    - ``options.synapse_time``: the cell's output is low-pass filtered. Each neuron has its own time constant,
      from 0 to ``synapse_time`` steps.

    Args:
        inputs: width of the input.
        neurons: ``N``.
        options: kind and initial constants of the neurons.
    """

    synapse_decay: Tensor | None  # decay factor of the filtered output per step, [N]

    def __init__(self, inputs: int, neurons: int, options: NeuronOptions):
        super().__init__()
        self.neurons, self.carried = KINDS[options.kind](neurons), options.carried
        self.ticks, self.averaged = options.ticks, options.averaged
        ports = self.neurons.ports
        self.recurrent_ports = max(ports - 1, 1)
        self.of_input = nn.Linear(inputs, ports * neurons, bias=False)
        self.of_spikes = nn.Linear(neurons, self.recurrent_ports * neurons, bias=False)
        self.norm = PortNorm(ports, neurons, options.gain, floor=options.norm_floor)
        times = torch.linspace(0, 1, neurons).square() * options.synapse_time  # mostly short ones
        decay = times / (1 + times) if options.synapse_time else None
        self.register_buffer("synapse_decay", decay, persistent=False)
        if options.gate_time and isinstance(self.neurons, MultiCompartment):
            with torch.no_grad():
                self.norm.bias[APICAL] = -_gate_times(neurons, options.gate_time).log()
                self.norm.gain[APICAL] *= _GATE_GAIN

    def at_rest(self, *batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Initial spikes ``[T, B, N]`` (or rates ``[1, B, N]``) and potentials ``[S, B, N]``."""
        spikes = like.new_zeros(1 if self.averaged else self.ticks, *batch, self.neurons.neurons)
        return spikes, self.neurons.at_rest(*batch, like=like)

    def enter(self, inputs: Tensor) -> Tensor:
        """Currents ``[..., P N]`` for inputs ``[..., inputs]`` of one or many steps."""
        return self.of_input(inputs)

    def forward(self, currents: Tensor, spikes: Tensor, potentials: Tensor) -> tuple[Tensor, Tensor]:
        """Run one environment step; returns spikes ``[T, B, N]`` (or rates ``[1, B, N]``) and potentials.

        Args:
            currents: currents from the inputs (`enter`), ``[T or 1, B, P N]``.
            spikes: spikes or rates returned for the previous step.
            potentials: potentials returned for the previous step, ``[S, B, N]``.
        """
        own = self.of_spikes(spikes)
        if own.shape[-1] < currents.shape[-1]:  # the soma receives no spikes
            own = nn.functional.pad(own, (0, currents.shape[-1] - own.shape[-1]))
        if not self.carried:
            potentials = torch.zeros_like(potentials)
        fire = self.neurons.rates if self.averaged else self.neurons
        fired, potentials = fire(self.norm(currents + own), potentials, self.ticks)
        if self.synapse_decay is not None:
            fired = fired.lerp(spikes, self.synapse_decay.to(fired))
        return fired, potentials


def _gate_times(units: int, longest: float) -> Tensor:
    """Initial memory times of units ``[units]``, drawn uniformly from 1 to ``longest`` steps."""
    return 1 + torch.rand(units) * (longest - 1)


class GRUCell(nn.Module):
    """Gated recurrent unit with layer normalisation; same methods as `SpikingCell`, with one tick.

    With ``options.gate_time`` its update gates are initialised as in `SpikingCell`.
    """

    def __init__(self, inputs: int, neurons: int, options: NeuronOptions):
        super().__init__()
        units = self.units = neurons
        self.of_input = nn.Linear(inputs, 3 * units, bias=False)
        self.of_state = nn.Linear(units, 3 * units, bias=False)
        self.norm = PortNorm(1, 3 * units, 1.0)
        if options.gate_time:
            with torch.no_grad():
                self.norm.bias[0, 2 * units :] = _UPDATE_BIAS - _gate_times(units, options.gate_time).log()

    def at_rest(self, *batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Initial state ``[1, B, N]``, and empty potentials ``[0, B, N]``."""
        return like.new_zeros(1, *batch, self.units), like.new_zeros(0, *batch, self.units)

    def enter(self, inputs: Tensor) -> Tensor:
        """Contribution of inputs ``[..., inputs]`` to the gates, ``[..., 3 N]``."""
        return self.of_input(inputs)

    def forward(self, currents: Tensor, state: Tensor, potentials: Tensor) -> tuple[Tensor, Tensor]:
        """Run one environment step; returns the state ``[1, B, N]`` and the empty potentials.

        Args:
            currents: contribution of the inputs (`enter`), ``[1, B, 3 N]``.
            state: state returned for the previous step.
            potentials: unused.
        """
        reset, candidate, update = self.norm(currents + self.of_state(state)).chunk(3, -1)
        candidate = (reset.sigmoid() * candidate).tanh()
        update = (update - _UPDATE_BIAS).sigmoid()
        return torch.lerp(state, candidate, update), potentials


Layer = SpikingLayer | DenseLayer
Cell = SpikingCell | GRUCell
LAYERS: dict[bool, type[SpikingLayer] | type[DenseLayer]] = {True: SpikingLayer, False: DenseLayer}
"""Layers with spikes (True) and without (False)."""
CELLS: dict[bool, type[SpikingCell] | type[GRUCell]] = {True: SpikingCell, False: GRUCell}
"""Recurrent cells with spikes (True) and without (False)."""
