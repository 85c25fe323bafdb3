"""Find backends by the names of their folders."""

import importlib
from pathlib import Path
from typing import Any

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import suggestion


def backends() -> list[str]:
    """Names of all backends, for ``policy_backend:=``."""
    return sorted(path.parent.name for path in Path(__file__).parent.glob("*/backend.py"))


def backend_options(name: str) -> type:
    """The ``Options`` class of a backend.

    Raises:
        UserError: if there is no such backend.
    """
    return _import(name, "options").Options


def backend_class(name: str) -> Any:
    """The ``Backend`` class of a backend.

    Raises:
        UserError: if there is no such backend.
    """
    return _import(name, "backend").Backend


def _import(name: str, module: str) -> Any:
    if name not in backends():
        raise UserError(f"unknown backend '{name}'{suggestion(name, backends())}")
    return importlib.import_module(f"spiking_wm.chips.backends.{name}.{module}")
