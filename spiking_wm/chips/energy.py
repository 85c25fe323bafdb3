"""Synaptic operations of a decision, and their energy on digital hardware (estimated)."""

from typing import NamedTuple

# picojoules per multiply-accumulate and per addition; 45 nm, 32 bits (Horowitz 2014)
PER_PRODUCT, PER_ADDITION = 4.6, 0.9


class Operations(NamedTuple):
    """Operations per decision, and the mean rate of each layer in spikes per neuron and tick.

    A synaptic operation is the addition of one weight for one spike. A product is a multiply-accumulate, for
    layers whose input is real numbers (pictures, for example) and not spikes.
    """

    synaptic_operations: float
    products: float
    rates: tuple[float, ...]

    @property
    def energy(self) -> float:
        """Estimated energy of the synapses only, in nanojoules per decision."""
        return (self.synaptic_operations * PER_ADDITION + self.products * PER_PRODUCT) / 1000
