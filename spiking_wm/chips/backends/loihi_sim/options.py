"""Options of the simulated Loihi."""

from dataclasses import dataclass

from spiking_wm.core.options import option


@dataclass(frozen=True)
class Options:
    """How a network is mapped to the chip, and what happens if the chip fails."""

    precision: str = option(
        "fixed_pt",
        "fixed point, bit-accurate as on Loihi 2, or floating point",
        choices=("fixed_pt", "floating_pt"),
    )
    nir: str = option(
        "", "NIR file (./swm export) to run in place of the policy's network; empty: the policy's"
    )
    weight_bits: int = option(8, "bits of a weight, sign included", 2, 8)
    threshold_bits: int = option(17, "bits of a threshold", 6, 17)
    decay_bits: int = option(12, "bits of a decay", 1, 12)
    message_bits: int = option(12, "bits of a number sent to the first layer", 1, 16)
    patience: float = option(
        0.5, "longest time of a decision, in seconds; a slower chip counts as hung", 1e-3, 60
    )
    fallback: str = option(
        "host",
        "what to do if the chip stops: run on the host, or none (a robot's gate commands its safe action)",
        choices=("host", "none"),
    )
