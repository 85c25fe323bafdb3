"""The learner in a process of its own, so that the dreamer node answers while it computes.

Parent and child exchange small tuples over a pipe. Transitions are learned from in order, one after
the other; requests are met between two units of work (an update, or a part of a dream).
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spiking_wm_ros.agents.contract import Budget, DreamProgress, Transition
from spiking_wm_ros.agents.files import sha256
from spiking_wm_ros.agents.learner import DreamResult, Evaluation, Release
from spiking_wm_ros.agents.run import Run
from spiking_wm_ros.agents.spaces import Spaces
from spiking_wm_ros.agents.trainer import LearningRun
from spiking_wm_ros.errors import UserError

_STATUS_EVERY = 50  # updates between two reports
_NICENESS = 5


class LearnerProcess:
    """The parent's end.

    Args:
        run: folder of the run, made by `Run.create`.
        spaces: the environment's spaces.
        resume: checkpoint to go on from.
        on_event: called, from a thread of its own, with each tuple that the child sends; the last
            one is ``("ended",)``, however the child ends.
    """

    def __init__(self, run: Path, spaces: Spaces, resume: Path | None, on_event: Callable[[tuple], None]):
        context = multiprocessing.get_context("spawn")
        self._pipe, child_end = context.Pipe()
        arguments = (child_end, run, spaces.to_json(), resume)
        self._process = context.Process(target=_main, args=arguments, name="learner", daemon=True)
        self._process.start()
        child_end.close()
        threading.Thread(target=self._receive, args=(on_event,), daemon=True).start()

    def send(self, *request: Any) -> None:
        """Send a transition or a request; nothing happens if the child has ended."""
        with suppress(OSError):
            self._pipe.send(request)

    def stop(self, seconds: float) -> bool:
        """Ask for a last checkpoint and wait for the end; True if it came in time."""
        self.send("stop")
        self._process.join(seconds)
        if self._process.exitcode is None:
            self._process.kill()
            return False
        return True

    def _receive(self, on_event: Callable[[tuple], None]) -> None:
        try:
            while True:
                on_event(self._pipe.recv())
        except (EOFError, OSError):
            on_event(("ended",))


def _main(pipe: Connection, run: Path, spaces: str, resume: Path | None) -> None:
    os.nice(_NICENESS)  # acting, and answering requests, go first
    # the parent decides when this process ends, also after Ctrl-C in a terminal
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        _Child(pipe, run, Spaces.from_json(spaces), resume).run()
    except UserError as error:
        pipe.send(("failed", str(error)))
    except (BrokenPipeError, EOFError):
        pass  # the parent is gone
    finally:
        pipe.close()


class _Child(LearningRun):
    """A learning run that is fed, and told what to do, through a pipe."""

    def __init__(self, pipe: Connection, run: Path, spaces: Spaces, resume: Path | None):
        self._pipe = pipe
        self._transitions: deque[Transition] = deque()
        self._requests: deque[tuple] = deque()
        self._something_came = threading.Event()
        self._parent_gone = False
        super().__init__(Run(run), spaces, resume)
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        try:
            while True:
                kind, *content = self._pipe.recv()
                if kind == "transition":
                    self._transitions.append(content[0])
                else:
                    self._requests.append((kind, *content))
                self._something_came.set()
        except (EOFError, OSError):
            self._parent_gone = True
            self._something_came.set()

    def run(self) -> None:
        """Learn until the run is finished, a stop is asked for, or the parent is gone."""
        stopped = False
        self._status()
        while not (stopped or self._parent_gone or self.learner.finished):
            self._something_came.clear()
            if self._requests:
                stopped = self._meet(*self._requests.popleft())
            elif not self.learner.work():
                if self._transitions:
                    self.learner.observe(self._transitions.popleft())
                else:
                    self._something_came.wait()
        if not self._parent_gone:
            self.learner.wake()
            self.save()
            self._pipe.send(("finished" if self.learner.finished else "stopped", self.learner.step))
        self.close()

    def _meet(self, kind: str, *content: Any) -> bool:
        """Do what was asked for; True if it was to stop."""
        if kind == "dream":
            try:
                self.learner.start_dream(self._default(content[0]))
            except UserError as error:
                self._pipe.send(("dream_refused", str(error)))
        elif kind == "wake":
            self.learner.wake()
        elif kind == "save":
            path = self.save()
            self._pipe.send(("saved", str(path) if path else ""))
        return kind == "stop"

    def _default(self, budget: Budget) -> Budget:
        return Budget(rollouts=self.learner.options.dream_rollouts) if budget == Budget() else budget

    # --- what the learner reports ---

    def _status(self) -> None:
        learner = self.learner
        self._pipe.send(
            (
                "status",
                {
                    "phase": learner.phase,
                    "can_dream": learner.agent.can_dream,
                    "step": learner.step,
                    "steps": learner.options.steps,
                    "updates": learner.updates,
                    "policy_version": learner.version,
                    "dreams": learner.dreams,
                    "dream_rollouts": learner.dream_rollouts,
                    "dream_updates": learner.dream_updates,
                    "transitions_waiting": len(self._transitions),
                },
            )
        )

    def released(self, release: Release) -> None:
        super().released(release)
        path = self.run_folder.policy_path(release.version).resolve()
        self._pipe.send(("released", *release[:3], str(path), sha256(path)))
        self._status()

    def learned(self, step: int, metrics: dict) -> None:
        super().learned(step, metrics)
        if self.learner.updates % _STATUS_EVERY == 0:
            self._status()

    def episode_ended(self, step: int, episode: int, episode_return: float, length: int) -> None:
        super().episode_ended(step, episode, episode_return, length)
        self._pipe.send(("episode", step, episode, episode_return, length))

    def evaluated(self, evaluation: Evaluation) -> None:
        super().evaluated(evaluation)
        self._pipe.send(("evaluated", evaluation.step, evaluation.version, evaluation.mean))

    def dream_started(self, step: int) -> None:
        super().dream_started(step)
        self._pipe.send(("dream_started", step))
        self._status()

    def dreamed(self, step: int, progress: DreamProgress) -> None:
        super().dreamed(step, progress)
        self._pipe.send(("dreamed", progress.rollouts, progress.updates, progress.metrics))

    def dream_ended(self, step: int, result: DreamResult) -> None:
        super().dream_ended(step, result)
        self._pipe.send(("dream_ended", *result, self.learner.version))
        self._status()

    def warn(self, text: str) -> None:
        self._pipe.send(("warning", text))
