"""A learner together with its run folder."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from spiking_wm.core.errors import UserError
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.folder import Run, bundle_of
from spiking_wm.runs.recorder import Recorder
from spiking_wm.runs.resuming import make_agent, restore
from spiking_wm.runs.writes import Writes
from spiking_wm.training.learner import DreamResult, Learner, Release

_MEMORY = Path("/dev/shm")  # a file system in memory, on Linux


class LearningRun(Recorder):
    """A learner and its run folder: records, writes policies, saves checkpoints, resumes.

    While the disk is full, `Schedule.on_full_disk` says what learning does; nothing is lost.

    Args:
        run: the folder, made by `Run.create`.
        spaces: the environment's spaces.
        resume: checkpoint to resume from; None: start a new run.
        on_release: called with each release and the path of its bundle.
        stopped: returns True if learning is to end; then it does not wait for room on the disk.

    Raises:
        UserError: if the agent cannot be made or resumed with these options; the run is then unchanged.
    """

    def __init__(
        self,
        run: Run,
        spaces: Spaces,
        resume: Path | None = None,
        on_release: Callable[[Release, Path], None] | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ):
        self.run_folder, self.spaces, self._on_release = run, spaces, on_release
        self._config = run.config
        self.setup = self._config.resolve()
        self._spare: tempfile.TemporaryDirectory[str] | None = None  # of policies, while the disk is full
        self._ended = False
        try:
            self._lock = run.lock()
            self.learner = self._made(resume)
        except UserError:
            run.roll_back_options()
            raise
        run.commit_options()
        waits = self.setup.schedule.on_full_disk == "wait"
        super().__init__(run, Writes(waits, stopped, lambda text: self.warn(text)))
        try:
            if resume:
                self._go_on_from(resume)
            else:
                run.clear()
        except OSError as error:
            self._lock.close()
            raise UserError(
                f"{run.path} cannot be written ({error.strerror}): free some disk space"
            ) from None

    def _made(self, resume: Path | None) -> Learner:
        options = self.setup.schedule
        prepare_to_compute(options.threads)
        try:
            learner = Learner(make_agent(self.setup, self.spaces), options, self)
            if resume:
                restore(learner, self.spaces, resume)
        except BaseException:
            self._lock.close()
            raise
        return learner

    def _go_on_from(self, resume: Path) -> None:
        learner = self.learner
        self.run_folder.checkpoints.give_up_after(resume)
        self.run_folder.forget_after(learner.step, learner.evaluated_at, learner.dreams)
        self.goes_on()
        if acting := learner.acting:
            self.released(acting._replace(weights=acting.weights | learner.agent.policy_state()))

    def close(self) -> None:
        """Write what has not been written, if that is possible, and unlock the folder."""
        super().close()
        if self._spare:
            self._spare.cleanup()
        self._lock.close()

    # --- policies ---

    def released(self, release: Release) -> None:
        """Write the bundle, and call ``on_release``.

        Raises:
            UserError: if the weights are not finite.
        """
        path = self._written(release)
        if path and self._on_release:
            self._on_release(release, path)

    def _written(self, release: Release) -> Path | None:
        """Write a policy to the run or, while that is impossible, to memory; None if it is neither."""

        def write(run: Run) -> Path:
            return run.write_policy(release.weights, self.setup, self.spaces, release.version)

        if self.writes.do("the policy", lambda: write(self.run_folder)):
            return self.run_folder.policy_path(release.version)
        spare = Run(self._memory())
        done = self.writes.do("the policy in memory", lambda: write(spare), wait=True)
        return spare.policy_path(release.version) if done else None

    def _memory(self) -> Path:
        if not self._spare:
            self._spare = tempfile.TemporaryDirectory(
                prefix="swm-", dir=_MEMORY if _MEMORY.is_dir() else None, ignore_cleanup_errors=True
            )
        return Path(self._spare.name)

    # --- dreams ---

    def dream_started(self, step: int) -> None:
        """Keep the policy from before the dream phase."""
        super().dream_started(step)
        self._keep_around_dream("before")

    def dream_ended(self, step: int, result: DreamResult) -> None:
        """Record the phase with the model's held-out error, and keep the policy from after it."""
        self.dream_recorded(step, self.learner.dreams, result, self.learner.agent.model_error())
        self._keep_around_dream("after")

    def _keep_around_dream(self, when: str) -> None:
        learner, number = self.learner, self.learner.dreams
        bundle = bundle_of(learner.agent.policy_weights(), self.setup, self.spaces, learner.version)
        self.writes.do(
            f"the policy {when} dream {number}",
            lambda: self.run_folder.keep_around_dream(number, when, bundle),
        )

    # --- checkpoints ---

    def save_due(self, step: int) -> None:
        """Save a checkpoint; while the disk is full, as `Schedule.on_full_disk` says."""
        self.save()

    def save(self) -> Path | None:
        """Write a checkpoint; returns None if that is impossible now.

        Raises:
            UserError: if the learner's state is not finite.
        """
        saved: list[Path] = []
        segment = self.learner.agent.dream_against_reality()

        def write() -> None:
            saved.append(self.run_folder.save(self.learner, self.spaces, self._config))

        self.writes.do("the checkpoint", write)
        self.writes.do("dream.safetensors", lambda: self.run_folder.keep_segment(segment))
        return saved[0] if saved else None

    def finish(self) -> None:
        """Write the last checkpoint and everything else.

        Raises:
            UserError: if something cannot be written, or the learner's state is not finite.
        """
        self._ended = True
        self.save()
        self.flush()
        self.writes.catch_up(now=True)
        if self.writes.waiting:
            unsaved = f"{self.writes.waiting} ({self.writes.reason})"
            raise UserError(
                f"not saved in {self.run_folder.path}: {unsaved}; free some disk space: {self._next_step()}"
            )

    def failed(self, error: BaseException) -> UserError:
        """Save what was learned before an exception, unless that was tried before; returns it in one line.

        If the exception came in the middle of a unit of work, the state has a name of its own, and is not
        taken as the newest checkpoint.
        """
        reason = self.run_folder.one_line(error)
        if self._ended:
            return UserError(reason)
        self._ended = True
        intact = self.learner.intact
        try:
            saved = self.run_folder.save(self.learner, self.spaces, self._config, failed=not intact)
        except Exception as other:
            why = self.run_folder.one_line(other)
            return UserError(f"{reason}; step {self.learner.step} is not saved ({why}): {self._next_step()}")
        if intact:
            return UserError(f"{reason}; what was learned is in {saved}")
        state = f"the learner's state is in {saved}, to look at, or to resume from"
        return UserError(f"{reason}; {state}; {self._next_step()}")

    def _next_step(self) -> str:
        run = self.run_folder
        if newest := run.checkpoints.all()[-1:]:
            return f"resume:={run.path} goes on from {newest[0].name}"
        return f"start it again by run:={run.path}"

    def warn(self, text: str) -> None:
        """Print a warning for the user."""
        print(f"warning: {text}", flush=True)
