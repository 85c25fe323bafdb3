"""Options of the host."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """The host has no options."""
