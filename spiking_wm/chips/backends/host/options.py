"""Options of the backend ``host``."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """Empty: the backend has no options."""
