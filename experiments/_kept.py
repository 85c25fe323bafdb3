"""Results that experiments keep, and go on with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spiking_wm_ros.errors import UserError


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
