"""Sizes of the networks; apart from them, so that options can be read without loading torch."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class RSSMSizes:
    """Sizes and kinds of a recurrent state-space model."""

    spiking: bool = True
    kind: str = "mcn"
    layered: str = "lif"  # kind of the neurons in layers
    carried: bool = True
    neurons: int = 128
    hidden: int = 128
    variables: int = 8
    classes: int = 8
    ticks: int = 1
    averaged: bool = False  # what layers hand on are mean rates over ticks, not the ticks
    gain: float = 0.5  # of normalised currents to begin with
    bias: float = 0.0  # added to those of layers, to begin with
    memory: float = 0.0  # longest time that gates keep what there is to begin with, in steps; 0: as drawn
    synapses: float = 0.0  # longest time constant of the cell's synapses, in steps; 0: they do not filter
    floor: float = 0.03  # deviation below which the cell's currents are not normalised up


@dataclass(frozen=True)
class QSizes:
    """Sizes and kinds of a network for the values of actions; the defaults are those of Atari."""

    spiking: bool = True
    neuron: str = "lif"
    spiking_output: bool = False
    levels: int = 0  # of activity that does not spike; 0: ReLU
    ticks: int = 8
    channels: tuple[int, ...] = (32, 64, 64)
    kernels: tuple[int, ...] = (8, 4, 3)
    strides: tuple[int, ...] = (4, 2, 1)
    hidden: int = 512
    lively: float = 2.0  # deviation of currents where weights are scaled to what is seen, in thresholds


def converted_sizes(sizes: QSizes, ticks: int) -> QSizes:
    """Those of what a network converts to; layers with rounded activity fire one after the other."""
    if sizes.levels:
        return replace(sizes, spiking=True, neuron="rounded", levels=0, ticks=sizes.levels)
    return replace(sizes, spiking=True, neuron="converted", ticks=ticks)


@dataclass(frozen=True)
class TransformerSizes:
    """Sizes and parts of a decision transformer."""

    spiking: bool = True
    ticks: int = 4
    width: int = 64
    hidden: int = 128
    heads: int = 4
    layers: int = 2
    context: int = 20
    phase_code: bool = True  # of order
    step_embeddings: bool = False  # tokens tell of which step of the episode they are
    routing: bool = True
