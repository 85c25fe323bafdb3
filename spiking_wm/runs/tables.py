"""CSV tables of a run: episodes, evaluations, dream phases, phases of the robot."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import append_atomically, write_atomically

_TABLES = {
    "episodes": ("step", "episode", "return", "length"),
    "evaluations": ("step", "policy_version", "mean", "std", "seconds", "returns"),
    "dreams": (
        "step",
        "rollouts",
        "updates",
        "accepted",
        "model_error_1_step",
        "model_error_5_step",
        "number",
        "began",  # start, in seconds since the start of the run, as in evaluations
        "seconds",  # duration
    ),
    "phases": ("step", "seconds", "phase", "reason"),  # phases of a robot with a scheduler
}


class Tables:
    """The CSV tables in a run's folder.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._unwritten: dict[str, list[Mapping[str, Any]]] = {}
        self._sound: set[str] = set()  # tables without a last line that a crash has cut off

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.csv"

    def keep(self, name: str, row: Mapping[str, Any]) -> None:
        """Add a row in memory; missing columns stay empty. `write` writes it."""
        self._unwritten.setdefault(name, []).append(row)

    def write(self, name: str) -> None:
        """Write the rows of a table that `keep` added.

        Raises:
            OSError: if they cannot be written; the file is then unchanged, and the rows are kept.
        """
        rows = self._unwritten.get(name, [])
        if name not in self._sound and self._file(name).exists():
            write_atomically(self._file(name), self._text(name).encode())
        self._sound.add(name)
        fresh = not self._file(name).exists() or not self._file(name).stat().st_size
        append_atomically(self._file(name), _csv(name, rows, header=fresh).encode())
        rows.clear()

    def _text(self, name: str) -> str:
        """A table's text, without a last line that a crash has cut off."""
        text = self._file(name).read_bytes().decode(errors="replace")
        return text[: text.rfind("\n") + 1]

    def rows(self, name: str) -> list[dict[str, str]]:
        """All rows in the file; empty if there are none yet.

        Raises:
            UserError: if a row has no step: the file is damaged.
        """
        if not self._file(name).exists():
            return []
        rows = list(csv.DictReader(io.StringIO(self._text(name), newline="")))
        for number, row in enumerate(rows, start=2):
            if not (row.get("step") or "").isdecimal():
                raise UserError(
                    f"line {number} of {self._file(name)} is damaged: delete the line, or the file, which is"
                    f" only for figures"
                )
        return rows

    def forget_after(self, step: int, evaluated_at: int | None, dreams: int) -> None:
        """Delete the rows that were written after a checkpoint.

        Args:
            step: training step of the checkpoint.
            evaluated_at: training step of its last evaluation; None if there was none.
            dreams: number of dream phases before it.
        """
        for name in _TABLES:
            if not self._file(name).exists():
                continue
            limit = step if name != "evaluations" else (-1 if evaluated_at is None else evaluated_at)
            rows = [row for row in self.rows(name) if int(row["step"]) <= limit]
            if name == "dreams":  # there may be several in one step
                rows = [row for row in rows if int(row.get("number") or 0) <= dreams]
            write_atomically(self._file(name), _csv(name, rows).encode())


def _csv(name: str, rows: Iterable[Mapping[str, Any]], header: bool = True) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _TABLES[name], restval="", extrasaction="ignore")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
