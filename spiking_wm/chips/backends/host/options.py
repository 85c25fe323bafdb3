"""Options of computing on the host."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """There are none."""
