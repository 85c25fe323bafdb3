"""Options of the simulated Loihi."""

from dataclasses import dataclass

from spiking_wm.core.options import option


@dataclass(frozen=True)
class Options:
    """How a network is mapped to the chip, and what happens if the chip fails."""

    precision: str = option(
        "fixed_pt",
        "whole numbers bit by bit as Loihi 2 has them, or floating point",
        choices=("fixed_pt", "floating_pt"),
    )
    nir: str = option(
        "", "file whose network runs in the policy's place, as by ./swm export; empty: the policy's"
    )
    weight_bits: int = option(8, "bits of a weight, its sign among them", 2, 8)
    threshold_bits: int = option(17, "bits of a threshold", 6, 17)
    decay_bits: int = option(12, "bits of a decay", 1, 12)
    message_bits: int = option(12, "bits of a number that is sent to the first layer", 1, 16)
    patience: float = option(
        0.5, "longest that a decision may take before the chip counts as hung, in s", 1e-3, 60
    )
    fallback: str = option(
        "host",
        "who acts when the chip is gone: the host, or none (a robot's gate then gives its safe command)",
        choices=("host", "none"),
    )
