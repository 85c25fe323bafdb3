"""Writes of a run, which wait in memory while the disk is full."""

import errno
import time
from collections.abc import Callable

_EVERY = 1.0  # seconds between two attempts


class Writes:
    """Does writes at once, or keeps them until there is room.

    Args:
        wait: True: `do` returns when the write is done; False: at once, and `catch_up` tries again.
        stopped: returns True to end the waiting of `do`.
        warn: receives one line for the user when the first write fails, and when all are done.
    """

    def __init__(self, wait: bool, stopped: Callable[[], bool], warn: Callable[[str], None]):
        self._wait, self._stopped, self._warn = wait, stopped, warn
        self._waiting: dict[str, Callable[[], object]] = {}
        self._tried = 0.0
        self.reason = ""  # of the last failure

    @property
    def waiting(self) -> str:
        """Names of the writes that are not done; empty if there are none."""
        return ", ".join(self._waiting)

    def do(self, name: str, write: Callable[[], object], wait: bool = False) -> bool:
        """Write now or later.

        Args:
            name: what is written, for messages; replaces a write of that name that is not done.
            write: raises OSError if it is impossible now; it must be repeatable.
            wait: wait for room in any case.

        Returns:
            True if it is done.
        """
        done = self._try(name, write)
        while not done and (wait or self._wait) and not self._stopped():
            time.sleep(_EVERY / 10)
            done = self._try(name, write)
        return done

    def catch_up(self, now: bool = False) -> None:
        """Try again what waits, once per second or ``now``. Call it between two units of work."""
        if self._waiting and (now or time.monotonic() > self._tried + _EVERY):
            self._tried = time.monotonic()
            for name, write in list(self._waiting.items()):
                self._try(name, write)

    def _try(self, name: str, write: Callable[[], object]) -> bool:
        failed_before = bool(self._waiting)
        try:
            write()
        except OSError as error:
            self._waiting[name] = write
            self.reason = error.strerror or str(error)
            if not failed_before:
                goes_on = "learning waits" if self._wait else "learning goes on and keeps it in memory"
                full = error.errno in (errno.ENOSPC, errno.EDQUOT)
                advice = "free some disk space" if full else "make its folder writable"
                self._warn(f"{name} is not written ({self.reason}): {advice}; {goes_on}")
            return False
        if self._waiting.pop(name, None) and not self._waiting:
            self._warn("there is room again: all is written")
        return True
