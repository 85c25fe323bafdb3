"""Options of spiking layers and recurrent spiking cells. Does not load torch."""

from dataclasses import dataclass

from spiking_wm.core.options import option


@dataclass(frozen=True)
class NeuronOptions:
    """Kinds of neurons, and initial values of their learned constants; see `layers` and `compartments`."""

    kind: str = option(
        "mcn_soft",
        "kind of recurrent neurons; mcn_paper: the leak is not gated; mcn_soft: reset by subtraction",
        choices=("lif", "adaptive_lif", "two_compartments", "mcn", "mcn_paper", "mcn_soft"),
        was="neuron",
    )
    layer_kind: str = option(
        "integrate_and_fire",
        "kind of neurons in feed-forward layers; integrate_and_fire rounds a constant current to a rate",
        choices=("lif", "integrate_and_fire"),
        was="layered",
    )
    ticks: int = option(
        8, "time steps of the network (ticks) within one environment step", 1, 64, was="ticks"
    )
    averaged: bool = option(
        True, "layers output mean rates over ticks; false: spikes of every tick", was="averaged"
    )
    carried: bool = option(
        True, "recurrent neurons keep potentials between steps; false: start from rest", was="carried"
    )
    gain: float = option(
        0.5, "initial gain of normalised currents; the threshold is 0.5", 0.01, 10, was="gain"
    )
    layer_bias: float = option(
        0.3, "initial bias of normalised currents of feed-forward layers", -10, 10, was="bias"
    )
    gate_time: float = option(
        0.0, "longest initial memory time of gates, in steps; 0: random initialisation", 0, 1e6, was="memory"
    )
    synapse_time: float = option(
        2.0, "longest time constant of recurrent synapses, in steps; 0: no filter", 0, 1e6, was="synapses"
    )
    norm_floor: float = option(
        0.3, "smallest standard deviation in the normalisation of recurrent currents", 1e-6, 100, was="floor"
    )
