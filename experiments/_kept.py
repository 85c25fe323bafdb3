"""Results that experiments keep, and go on with."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import write_atomically


def found_once(kept: Path, options: Mapping[str, Any], find: Callable[[], dict]) -> dict:
    """What was found before, or what is found now, and kept.

    Args:
        kept: the JSON file that it is kept in.
        options: what it is found with.
        find: finds it, as JSON has it.

    Raises:
        UserError: if it was found with other options.
    """
    if not kept.exists():
        write_atomically(kept, json.dumps(find() | {"options": options}).encode())
    found = json.loads(kept.read_text())
    check_unchanged(kept, options, found.get("options", {}))
    return found


def check_unchanged(kept: Path, options: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Refuse what was made with other options.

    Args:
        kept: what is gone on with.
        options: those of today.
        before: those it was made with.

    Raises:
        UserError: naming those that differ.
    """
    if changed := [name for name in options if options[name] != before.get(name)]:
        raise UserError(f"{kept} was begun with another {', '.join(changed)}: delete it to begin anew")
