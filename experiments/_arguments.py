"""Arguments of experiments, ``name:=value``."""

import sys
from typing import Any

from spiking_wm.core.errors import UserError


def arguments(defaults: dict[str, Any]) -> dict[str, Any]:
    """Values from the command line, converted to the types of their defaults; defaults for the rest.

    Raises:
        UserError: for an unknown name, or a value of the wrong type.
    """
    given = dict(defaults)
    for argument in sys.argv[1:]:
        name, _, value = argument.partition(":=")
        if name not in defaults:
            raise UserError(f"unknown parameter '{name}'; known: {', '.join(defaults)}")
        try:
            given[name] = type(defaults[name])(value)
        except ValueError:
            raise UserError(f"{name}:={value} is not a whole number") from None
    return given
