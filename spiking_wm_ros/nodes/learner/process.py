"""The learner in its own process, so that the dreamer node can answer while the learner computes.

Parent and child (`learner.child`) exchange `learner.events` over a pipe. Transitions are learned from in
order; requests are handled between two units of work (an update, or a part of a dream).
"""

import multiprocessing
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from spiking_wm.core.spaces import Spaces
from spiking_wm_ros.nodes.learner.events import Ended, Event, Request, Stop


class LearnerProcess:
    """The parent's side of the learner process.

    Args:
        run: folder of the run, made by `Run.create`.
        spaces: the environment's spaces.
        resume: checkpoint to resume from.
        on_event: called in a thread of its own with each event; the last one is `Ended`.
    """

    def __init__(self, run: Path, spaces: Spaces, resume: Path | None, on_event: Callable[[Event], None]):
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        arguments = (child_end, run, spaces.to_json(), resume)
        self._process = context.Process(target=_compute, args=arguments, name="learner", daemon=True)
        self._process.start()
        child_end.close()
        self._receiver = threading.Thread(target=self._receive, args=(on_event,), daemon=True)
        self._receiver.start()

    def send(self, request: Request) -> None:
        """Send a transition or a request; does nothing if the child has ended."""
        with suppress(OSError):
            self._pipe.send(request)

    def stop(self, seconds: float) -> bool:
        """Request a last checkpoint and wait for the child to end; returns True if it ended in time.

        All its events have then been received.
        """
        self.send(Stop())
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            return False
        self._receiver.join()
        return True

    def exit_code(self) -> int | None:
        """Exit code of the child, which has ended; the negative number of a signal that killed it."""
        self._process.join(1)
        return self._process.exitcode

    def _receive(self, on_event: Callable[[Event], None]) -> None:
        try:
            while True:
                on_event(self._pipe.recv())
        except (EOFError, OSError):
            on_event(Ended())


def _compute(*arguments: Any) -> None:
    """Run the child. Imports are here because they take time and memory that the node does not need."""
    from spiking_wm_ros.nodes.learner.child import main

    main(*arguments)
