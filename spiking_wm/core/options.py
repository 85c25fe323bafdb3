"""Options: frozen dataclasses that are at once defaults, documentation, YAML and ROS parameters."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from spiking_wm.core.errors import UserError


@dataclass(frozen=True)
class Range:
    """Inclusive bounds of a number; ``None`` is unbounded."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        low = "" if self.low is None else f"{self.low:g}"
        high = "" if self.high is None else f"{self.high:g}"
        return f"{low}..{high}"


def option(default, text: str, low=None, high=None, choices: tuple = ()) -> Any:
    """Declare a field of an options dataclass.

    Args:
        default: value when nothing else is said; its type is the option's type.
        text: one line of description, with the unit.
        low, high: inclusive bounds of a number, or of every number of a tuple.
        choices: allowed values, if they can be listed.
    """
    return field(default=default, metadata={"text": text, "range": Range(low, high), "choices": choices})


def known(options_class: type) -> dict[str, Any]:
    """Fields of an options dataclass by name."""
    return {f.name: f for f in fields(options_class)}


def parse(options_class: type, name: str, value: Any) -> Any:
    """Convert and check one value, given as text or as YAML or ROS would hold it.

    Raises:
        UserError: for an unknown name, a wrong type, or a value outside its bounds.
    """
    names = known(options_class)
    if name not in names:
        raise UserError(f"unknown parameter '{name}'{suggestion(name, names)}")
    f = names[name]
    wanted = type(f.default)
    try:
        parsed = _convert(wanted, yaml.safe_load(value) if isinstance(value, str) else value, value)
    except (TypeError, ValueError, OverflowError, yaml.YAMLError):
        kind = {int: "a whole number", float: "a number", bool: "true or false"}.get(wanted, wanted.__name__)
        if wanted is tuple:
            kind = "a list of whole numbers, as [256, 256]"
        raise UserError(f"{name}:={value} is not {kind} ({f.metadata['text']})") from None
    _check(f, parsed)
    return parsed


def _convert(wanted: type, loaded: Any, given: Any) -> Any:
    if wanted is tuple:
        if not isinstance(loaded, list | tuple):
            raise TypeError
        return tuple(_convert(int, item, item) for item in loaded)
    if wanted is str:
        return str(given)
    if wanted is bool:
        if not isinstance(loaded, bool):
            raise TypeError
        return loaded
    if isinstance(loaded, bool) or (wanted is int and float(loaded) != int(float(loaded))):
        raise TypeError
    return wanted(float(loaded))


def _check(f, value) -> None:
    bounds, choices = f.metadata["range"], f.metadata["choices"]
    if choices and value not in choices:
        raise UserError(f"{f.name}:={value} is not one of {', '.join(map(str, choices))}")
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, str):
            continue
        # written so that NaN fails too
        if not (bounds.low is None or number >= bounds.low) or not (
            bounds.high is None or number <= bounds.high
        ):
            raise UserError(f"{f.name}:={number} is outside {bounds} ({f.metadata['text']})")


def override(options, values: Mapping[str, Any]):
    """A copy of an options dataclass with some values replaced, each parsed and checked."""
    return replace(options, **{k: parse(type(options), k, v) for k, v in values.items()})


def suggestion(name: str, names) -> str:
    """``; did you mean 'x'?`` where a name is close, else the list of all."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(names))}"


def read_yaml(path: Path) -> dict[str, Any]:
    """Load a YAML mapping.

    Raises:
        UserError: if the file is no YAML mapping.
    """
    try:
        loaded = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path} must hold 'name: value' lines")
    return loaded
