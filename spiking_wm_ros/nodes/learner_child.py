"""What the learner's own process does; `learner_process` is the parent's end of its pipe."""

import os
import signal
import threading
from collections import deque
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from spiking_wm.core.contract import Budget, DreamProgress, Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import sha256
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.folder import Run
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.training.learner import DreamResult, Evaluation, Release
from spiking_wm.training.trainer import take_in

_STATUS_EVERY = 50  # updates between two reports
_NICENESS = 5


def main(pipe: Connection, run: Path, spaces: str, resume: Path | None) -> None:
    """Learn as the parent says, until it says stop or is gone.

    Args:
        pipe: to the parent.
        run: folder of the run.
        spaces: the environment's, as JSON.
        resume: checkpoint to go on from.
    """
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
        while not (stopped or self._parent_gone):
            self._something_came.clear()
            if self._requests:
                stopped = self._meet(*self._requests.popleft())
            elif self.learner.work():
                continue
            elif self.learner.finished:
                break  # what was due after the last step is done as well
            elif self._transitions:
                self.learner.observe(self._transitions.popleft())
            else:
                self._something_came.wait()
        if not self._parent_gone:
            self.learner.end_dream()
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
            self.learner.end_dream()
        elif kind == "bag":
            self._learn_from(Path(content[0]))
        elif kind == "stretch":
            if stretch := self.learner.agent.dream_against_reality():
                self._pipe.send(("stretch", stretch))
        elif kind == "phase":
            self.phase_changed(self.learner.step, *content)
        elif kind == "save":
            path = self.save()
            self._pipe.send(("saved", str(path) if path else ""))
        return kind == "stop"

    def _learn_from(self, bag: Path) -> None:
        from spiking_wm_ros.nodes.bag import transitions

        take_in(self.learner, transitions(bag, self.spaces))
        self.learner.finished = False  # there is a dream to come

    def _default(self, budget: Budget) -> Budget:
        return Budget(rollouts=self.learner.options.dream.rollouts) if budget == Budget() else budget

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
                    "updates_first": learner.agent.updates_first,  # before the first step
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

    def learned(self, step: int, updates: int, metrics: dict) -> None:
        super().learned(step, updates, metrics)
        if updates % _STATUS_EVERY == 0:
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
