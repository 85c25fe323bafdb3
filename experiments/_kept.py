"""Stored results of experiments, which later calls continue from."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import write_atomically


def found_once(kept: Path, options: Mapping[str, Any], find: Callable[[], dict]) -> dict:
    """Load a stored result, or compute and store it.

    Args:
        kept: JSON file with the stored result.
        options: options that the result depends on.
        find: computes the result (JSON types).

    Raises:
        UserError: if the stored result was computed with other options.
    """
    if not kept.exists():
        write_atomically(kept, json.dumps(find() | {"options": options}).encode())
    found = json.loads(kept.read_text())
    check_unchanged(kept, options, found.get("options", {}))
    return found


def check_unchanged(kept: Path, options: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Check that a stored result was made with the same options.

    Args:
        kept: file of the stored result.
        options: current options.
        before: options of the stored result.

    Raises:
        UserError: if options differ; the message names them.
    """
    if changed := [name for name in options if options[name] != before.get(name)]:
        raise UserError(f"{kept} was begun with another {', '.join(changed)}: delete it to begin anew")
