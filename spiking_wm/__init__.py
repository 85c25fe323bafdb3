"""Spiking agents that learn awake, and in dreams of the spiking world models that they learn.

`make` an environment, `train` (and `resume`), `dream`, `evaluate`, and `load_policy` to act. Algorithms of
your own are subclasses of `Agent` and `Policy`, made known by `register_agent`. This package knows no ROS.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spiking_wm.api import dream, evaluate, load_policy, make, resume, train
    from spiking_wm.core.contract import Agent, Policy
    from spiking_wm.core.errors import UserError
    from spiking_wm.core.player import Player
    from spiking_wm.core.registry import register_agent
    from spiking_wm.runs.folder import Run

__version__ = "0.2.0"

_HOMES = {
    "make": "api",
    "train": "api",
    "resume": "api",
    "dream": "api",
    "evaluate": "api",
    "load_policy": "api",
    "register_agent": "core.registry",
    "Agent": "core.contract",
    "Policy": "core.contract",
    "Player": "core.player",
    "Run": "runs.folder",
    "UserError": "core.errors",
}
__all__ = [
    "Agent",
    "Player",
    "Policy",
    "Run",
    "UserError",
    "dream",
    "evaluate",
    "load_policy",
    "make",
    "register_agent",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import names on first use: importing torch takes two seconds."""
    if name in _HOMES:
        return getattr(import_module(f"spiking_wm.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'spiking_wm' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
