"""The learner's own process; `learner.process` is the parent's end of its pipe."""

import os
import signal
import threading
from collections import deque
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

from spiking_wm.core.contract import Budget, DreamProgress, Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import sha256
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.folder import Run
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.training.learner import DreamResult, Evaluation, Release
from spiking_wm.training.trainer import take_in
from spiking_wm_ros.nodes.learner.events import (
    Dreamed,
    DreamEnded,
    DreamRefused,
    EndDream,
    EpisodeEnded,
    Evaluated,
    Event,
    Failed,
    Finished,
    HeldOutSegment,
    LearnFromBag,
    PolicyReleased,
    Request,
    RobotPhase,
    Save,
    Saved,
    SendSegment,
    StartDream,
    Status,
    Stop,
    Warned,
)

_STATUS_EVERY = 50  # updates between two status events
_NICENESS = 5
_LOOK_EVERY = 0.5  # seconds between two looks at files, while it waits


def main(pipe: Connection, run: Path, spaces: str, resume: Path | None) -> None:
    """Learn from transitions of the parent, until it sends `Stop` or ends.

    Args:
        pipe: pipe to the parent.
        run: folder of the run.
        spaces: the environment's spaces, as JSON.
        resume: checkpoint to resume from.
    """
    os.nice(_NICENESS)  # nodes that act or answer requests have priority
    # the parent decides when this process ends, also after Ctrl-C in a terminal, or when that is closed
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    folder = Run(run)
    try:
        child = _Child(pipe, folder, Spaces.from_json(spaces), resume)
    except (Exception, SystemExit) as error:
        with suppress(ConnectionError):  # the parent is gone
            pipe.send(Failed(folder.one_line(error)))
        return
    child.run()


class _Child(LearningRun):
    """A learning run that gets transitions and requests through a pipe."""

    def __init__(self, pipe: Connection, run: Run, spaces: Spaces, resume: Path | None):
        self._pipe = pipe
        self._transitions: deque[Transition] = deque()
        self._requests: deque[Request] = deque()
        self._something_came = threading.Event()
        self._parent_gone = False
        self._published: tuple[Release, Path] | None = None  # the newest policy version, and its file
        super().__init__(run, spaces, resume, self._publish, self._told_to_stop)
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        try:
            while True:
                received = self._pipe.recv()
                queue = self._transitions if isinstance(received, Transition) else self._requests
                queue.append(received)
                self._something_came.set()
        except (EOFError, OSError):
            self._parent_gone = True
            self._something_came.set()

    def _told_to_stop(self) -> bool:
        return self._parent_gone or any(isinstance(request, Stop) for request in tuple(self._requests))

    def run(self) -> None:
        """Learn until the run is finished, or the parent sends `Stop` or ends; save what was learned."""
        try:
            self._learn()
            self.learner.end_dream()
            self.finish()
        except (Exception, SystemExit) as error:
            self._send(Failed(str(self.failed(error))))
        else:
            if self.learner.finished:
                self._send(Finished(self.learner.step))
        self.close()

    def _learn(self) -> None:
        stopped = False
        self._send_status()
        while not (stopped or self._parent_gone):
            self._something_came.clear()
            self.writes.catch_up()
            if self._requests:
                stopped = self._handle(self._requests.popleft())
            elif self.learner.work():
                continue
            elif self.learner.finished:
                break  # the work due after the last step is done, too
            elif self._transitions:
                self.learner.observe(self._transitions.popleft())
            elif not self._something_came.wait(_LOOK_EVERY):
                self._look_after_policy()

    def _look_after_policy(self) -> None:
        """Release the policy version again if its file is gone: others may wait for it."""
        if not self._published:
            return
        release, path = self._published
        if not path.exists():
            self.warn(f"{path} is gone: it is written again")
            self.released(release)

    def _handle(self, request: Request) -> bool:
        """Handle a request; returns True for `Stop`."""
        match request:
            case StartDream(budget):
                try:
                    self.learner.start_dream(self._or_default(budget))
                except UserError as error:
                    self._send(DreamRefused(str(error)))
            case EndDream():
                self.learner.end_dream()
            case LearnFromBag(folder):
                self._learn_from(folder)
            case SendSegment():
                if segment := self.learner.agent.dream_against_reality():
                    self._send(HeldOutSegment(segment))
            case RobotPhase(phase, reason):
                self.phase_changed(self.learner.step, phase, reason)
            case Save():
                if path := self.save():
                    self._send(Saved(path))
            case Stop():
                return True
        return False

    def _learn_from(self, bag: Path) -> None:
        from spiking_wm_ros.nodes.bag import transitions

        take_in(self.learner, transitions(bag, self.spaces))
        self.learner.finished = False  # there is a dream to come

    def _or_default(self, budget: Budget) -> Budget:
        return Budget(rollouts=self.learner.options.dream.rollouts) if budget == Budget() else budget

    # --- events of the learner ---

    def _send(self, event: Event) -> None:
        try:
            self._pipe.send(event)
        except ConnectionError:
            self._parent_gone = True

    def _send_status(self) -> None:
        learner = self.learner
        self._send(
            Status(
                phase=learner.phase,
                can_dream=learner.agent.can_dream,
                step=learner.step,
                steps=learner.options.steps,
                updates=learner.updates,
                updates_first=learner.agent.updates_first,
                policy_version=learner.version,
                dreams=learner.dreams,
                dream_rollouts=learner.dream_rollouts,
                dream_updates=learner.dream_updates,
                transitions_waiting=len(self._transitions),
            )
        )

    def _publish(self, release: Release, path: Path) -> None:
        version, first_step, until_step, _ = release
        self._published = release, path
        self._send(PolicyReleased(version, first_step, until_step, str(path.resolve()), sha256(path)))
        self._send_status()

    def learned(self, step: int, updates: int, metrics: dict) -> None:
        super().learned(step, updates, metrics)
        if updates % _STATUS_EVERY == 0:
            self._send_status()

    def episode_ended(self, step: int, episode: int, episode_return: float, length: int) -> None:
        super().episode_ended(step, episode, episode_return, length)
        self._send(EpisodeEnded(episode_return))

    def evaluated(self, evaluation: Evaluation) -> None:
        super().evaluated(evaluation)
        self._send(Evaluated(evaluation.step, evaluation.version, evaluation.mean))

    def dream_started(self, step: int) -> None:
        super().dream_started(step)
        self._send_status()

    def dreamed(self, step: int, progress: DreamProgress) -> None:
        super().dreamed(step, progress)
        self._send(Dreamed(progress))

    def dream_ended(self, step: int, result: DreamResult) -> None:
        super().dream_ended(step, result)
        self._send(DreamEnded(result, self.learner.version))
        self._send_status()

    def warn(self, text: str) -> None:
        self._send(Warned(text))
