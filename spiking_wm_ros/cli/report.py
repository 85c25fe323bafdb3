"""`./swm report`: write the reports of runs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track

from spiking_wm.core.errors import UserError
from spiking_wm.runs import report
from spiking_wm.runs.folder import Run


def write_reports(paths: Sequence[str]) -> None:
    """Write ``report.html`` into the folders of runs.

    Raises:
        UserError: if no folder is given, or a folder is not a run.
    """
    if not paths:
        raise UserError("no run to report: ./swm report runs/NAME")
    for path in paths:
        Console(markup=False, emoji=False).print(f"written: {write_report(Run(Path(path)))}", soft_wrap=True)


def write_report(run: Run) -> Path:
    """Write the report of a run, with a progress bar while policies are evaluated; returns the file.

    Raises:
        UserError: if the folder is not a run.
    """
    return report.report(run, _bar)


def _bar(pairs: Sequence[report.AroundDream]) -> Iterable[report.AroundDream]:
    return track(pairs, "what dreams changed", transient=True)
