"""Synaptic operations of a decision on digital hardware, and an estimate of their energy."""

from typing import NamedTuple

# picojoules of one, 45 nm, 32 bits (Horowitz 2014)
PER_PRODUCT, PER_ADDITION = 4.6, 0.9


class Operations(NamedTuple):
    """Per decision, and mean rates of each layer, spikes a neuron a time step.

    A synaptic operation is one addition of a weight because of one spike; a product is a multiplication and
    addition, as where a layer sees pictures, or numbers that are no spikes.
    """

    synaptic_operations: float
    products: float
    rates: tuple[float, ...]

    @property
    def energy(self) -> float:
        """Of synapses alone, estimated, in nanojoules."""
        return (self.synaptic_operations * PER_ADDITION + self.products * PER_PRODUCT) / 1000
