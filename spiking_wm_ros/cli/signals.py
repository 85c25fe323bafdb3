"""SIGINT, SIGTERM and SIGHUP, which end a command at every stage."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # SIGHUP: the terminal was closed


class Stopped(BaseException):
    """A signal asks the command to end.

    Args:
        number: the signal.
    """

    def __init__(self, number: int):
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextmanager
def heeding(handler: Callable[[int, Any], Any]) -> Iterator[None]:
    """Context in which SIGINT, SIGTERM and SIGHUP call a handler.

    SIGINT does so also if it was inherited as ignored, as in background jobs of scripts. SIGHUP that was
    inherited as ignored stays ignored, as nohup wants it.
    """
    previous = {number: signal.getsignal(number) for number in _STOPPING}
    if previous[signal.SIGHUP] == signal.SIG_IGN:
        del previous[signal.SIGHUP]

    def heed(number: int, frame: Any) -> None:
        if number == signal.SIGHUP:
            _leave_closed_terminal()
        handler(number, frame)

    for number in previous:
        signal.signal(number, heed)
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def stop(number: int, _: Any) -> None:
    """Handler that raises `Stopped`; later signals are ignored, so that they do not interrupt the end."""
    for each in _STOPPING:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)


@contextmanager
def noting() -> Iterator[list[int]]:
    """Context in which the first signal is only noted, in the list that it yields.

    Raises:
        Stopped: at a second signal, in case that something hangs; what is underway gets `KeyboardInterrupt`.
    """
    signals: list[int] = []

    def note(number: int, _: Any) -> None:
        signals.append(number)
        if len(signals) > 1:
            raise KeyboardInterrupt

    try:
        with heeding(note):
            yield signals
    except KeyboardInterrupt:
        raise Stopped(signals[-1] if signals else signal.SIGINT) from None


def _leave_closed_terminal() -> None:
    """Discard output to a terminal that was closed; to write to it would raise OSError."""
    for stream in (1, 2):
        try:
            os.write(stream, b"")
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
