"""CSV tables of a run: episodes, evaluations, dream phases, phases of the robot."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spiking_wm.core.files import write_atomically

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

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.csv"

    def append(self, name: str, row: Mapping[str, Any]) -> None:
        """Add a row; missing columns stay empty."""
        fresh = not self._file(name).exists()
        with self._file(name).open("a", newline="") as file:
            writer = csv.DictWriter(file, _TABLES[name], restval="")
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def rows(self, name: str) -> list[dict[str, str]]:
        """All rows; empty if there are none yet."""
        if not self._file(name).exists():
            return []
        with self._file(name).open(newline="") as file:
            return list(csv.DictReader(file))

    def forget_after(self, step: int, evaluated_at: int | None, dreams: int) -> None:
        """Delete the rows that were written after a checkpoint.

        Args:
            step: training step of the checkpoint.
            evaluated_at: training step of its last evaluation; None if there was none.
            dreams: number of dream phases before it.
        """
        for name, columns in _TABLES.items():
            if not self._file(name).exists():
                continue
            limit = step if name != "evaluations" else (-1 if evaluated_at is None else evaluated_at)
            rows = [row for row in self.rows(name) if int(row["step"]) <= limit]
            if name == "dreams":  # there may be several in one step
                rows = [row for row in rows if int(row.get("number") or 0) <= dreams]
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
            write_atomically(self._file(name), text.getvalue().encode())
