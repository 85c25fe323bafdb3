"""Progress bars, in terminals and in notebooks."""

import io
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_REFRESH_PER_SECOND = 2


def bars(shown: bool = True) -> Progress:
    """Progress bars with counts and the time left, for use as a context manager.

    Args:
        shown: False for bars that can be updated but are not displayed.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if shown and Console().is_jupyter and not find_spec("ipywidgets"):  # which rich needs to redraw there
        return TextBars(_notebook_output(), *columns)
    return Progress(*columns, refresh_per_second=_REFRESH_PER_SECOND, disable=not shown)


class TextBars(Progress):
    """Progress bars that are handed on as text, which replaces the text before.

    Args:
        show: displays the text.
        columns: of the bars.
    """

    def __init__(self, show: Callable[[str], None], *columns: Any):
        super().__init__(*columns, disable=True)
        self._show, self._shown_at = show, 0.0

    def update(self, *arguments: Any, **changes: Any) -> None:
        """Update a task; the text is replaced at most twice a second."""
        super().update(*arguments, **changes)
        if time.monotonic() > self._shown_at + 1 / _REFRESH_PER_SECOND:
            self._shown_at = time.monotonic()
            self._show(self._text())

    def stop(self) -> None:
        """Show the last state."""
        super().stop()
        self._show(self._text())

    def _text(self) -> str:
        console = Console(file=io.StringIO(), width=100, force_jupyter=False)
        console.print(self.get_renderable())
        return console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def _notebook_output() -> Callable[[str], None]:
    from IPython.display import display  # it is there, where this runs in a notebook

    handle = display({"text/plain": ""}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)
