"""Options: frozen dataclasses that define defaults, documentation, YAML keys and ROS parameters.

`option` declares a field, `group` a nested dataclass of options. In YAML, on the command line and as a ROS
parameter, an option has a dotted name: ``critic.lr`` is the field ``lr`` of the group ``critic``.
"""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import yaml

from spiking_wm.core.errors import UserError

Options = TypeVar("Options")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, if PyYAML has it


@dataclass(frozen=True)
class Range:
    """Inclusive bounds of a number; ``None`` is unbounded."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        low = "" if self.low is None else f"{self.low:g}"
        high = "" if self.high is None else f"{self.high:g}"
        return f"{low}..{high}"


class Option(NamedTuple):
    """Description of one option.

    ``was``: its names in earlier versions; runs and presets that use them still load.
    """

    name: str
    default: Any
    text: str
    range: Range
    choices: tuple
    was: tuple[str, ...]


def option(
    default: Any,
    text: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple = (),
    was: str | tuple[str, ...] = (),
) -> Any:
    """Declare an option, a field of an options dataclass.

    Args:
        default: default value; its type is the option's type.
        text: one line of description, with the unit.
        low, high: inclusive bounds of a number, or of every number of a tuple.
        choices: allowed values, if they can be listed.
        was: former names, as whole dotted or flat names (``unsettled``).
    """
    was = (was,) if isinstance(was, str) else was
    metadata = {"text": text, "range": Range(low, high), "choices": choices, "was": was}
    return field(default=default, metadata=metadata)


def group(default: Any) -> Any:
    """Declare a group of options: a field whose default is another options dataclass."""
    return field(default=default, metadata={"group": True})


@cache
def known(options_class: type) -> dict[str, Option]:
    """All options of a dataclass by dotted name, in order of declaration."""
    return described(options_class())


def described(options: Any) -> dict[str, Option]:
    """As `known`, with the values of an instance as defaults."""
    found = {}
    for f in fields(options):
        value = getattr(options, f.name)
        if f.metadata.get("group"):
            for name, inner in described(value).items():
                found[f"{f.name}.{name}"] = inner._replace(name=f"{f.name}.{name}")
        else:
            m = f.metadata
            found[f.name] = Option(f.name, value, m["text"], m["range"], m["choices"], m["was"])
    return found


def values(options: Any) -> dict[str, Any]:
    """Values of an options instance by dotted name."""
    return {name: found.default for name, found in described(options).items()}


@cache
def _aliases(options_class: type) -> dict[str, str]:
    """Dotted names by flat and former name: ``critic_lr`` gives ``critic.lr``."""
    options = known(options_class)
    flat = {name.replace(".", "_"): name for name in options}
    return {old: name for name, o in options.items() for old in o.was} | flat | {n: n for n in options}


def canonical(options_class: type, name: str) -> str | None:
    """The dotted name for a dotted, flat or former name; ``None`` if there is no such option."""
    return _aliases(options_class).get(name)


def flattened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings (groups in YAML) to one mapping with dotted names.

    Raises:
        UserError: for a name that is given twice, nested and dotted.
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        inner = flattened(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
        for twice in flat.keys() & inner.keys():
            raise UserError(f"'{twice}' comes twice: give it by one name")
        flat |= inner
    return flat


def parse(options_class: type, name: str, value: Any) -> Any:
    """Convert and check one value, given as text or with its YAML or ROS type.

    Raises:
        UserError: for an unknown name, a wrong type, or a value outside its bounds.
    """
    found = canonical(options_class, name)
    if found is None:
        raise UserError(f"unknown parameter '{name}'{suggestion(name, known(options_class))}")
    o = known(options_class)[found]
    wanted = type(o.default)
    try:
        parsed = _convert(wanted, yaml.safe_load(value) if isinstance(value, str) else value, value)
    except (TypeError, ValueError, OverflowError, yaml.YAMLError):
        kind = {int: "a whole number", float: "a number", bool: "true or false"}.get(wanted, wanted.__name__)
        if wanted is tuple:
            kind = "a list of whole numbers, as [256, 256]"
        raise UserError(f"{name}:={value} is not {kind} ({o.text})") from None
    _check(o, parsed)
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


def _check(o: Option, value: Any) -> None:
    if o.choices and value not in o.choices:
        raise UserError(f"{o.name}:={value} is not one of {', '.join(map(str, o.choices))}")
    low, high = o.range.low, o.range.high
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, str):
            continue
        if isinstance(number, int) and abs(number) >= 2**63:  # ROS and files hold 64 bits
            raise UserError(f"{o.name}:={number:.3g} is outside -2^63..2^63-1 ({o.text})")
        # written so that NaN fails too
        if not (low is None or number >= low) or not (high is None or number <= high):
            raise UserError(f"{o.name}:={number} is outside {o.range} ({o.text})")


def override(options: Options, changes: Mapping[str, Any]) -> Options:
    """A copy of an options dataclass with some values replaced, each parsed and checked.

    Args:
        options: the dataclass.
        changes: values by dotted, flat or former name; groups may also be nested mappings.

    Raises:
        UserError: as `parse`.
    """
    parsed = {}
    for name, value in flattened(changes).items():
        checked = parse(type(options), name, value)  # raises for an unknown name
        parsed[canonical(type(options), name) or name] = checked
    return _replaced(options, parsed)


def _replaced(options: Any, changes: Mapping[str, Any]) -> Any:
    own: dict[str, Any] = {}
    of_groups: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        first, dot, rest = name.partition(".")
        if dot:
            of_groups.setdefault(first, {})[rest] = value
        else:
            own[name] = value
    groups = {name: _replaced(getattr(options, name), inner) for name, inner in of_groups.items()}
    return dataclasses.replace(options, **own, **groups)


def suggestion(name: str, names: Iterable[str]) -> str:
    """End of an error message: ``; did you mean 'x'?`` if a name is similar, else the known names."""
    close = difflib.get_close_matches(name.lower(), list(names), n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(names))}"


def read_yaml(path: Path) -> dict[str, Any]:
    """Load a YAML mapping.

    Raises:
        UserError: if the file is no YAML mapping.
    """
    try:
        loaded = yaml.load(path.read_text(), _LOADER)
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict):
        raise UserError(f"{path} must hold 'name: value' lines")
    return loaded
