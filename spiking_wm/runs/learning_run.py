"""A learner and its run folder."""

from collections.abc import Callable
from pathlib import Path

from spiking_wm.core.errors import UserError
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.registry import agent_class
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.folder import Run, bundle_of
from spiking_wm.runs.recorder import Recorder
from spiking_wm.training.learner import DreamResult, Learner, Release


class LearningRun(Recorder):
    """A learner and its folder: records, writes policies, saves checkpoints, goes on after a stop.

    Args:
        run: the folder, made by `Run.create`.
        spaces: the environment's spaces.
        resume: a checkpoint to go on from.
        on_release: called with each release and its file.

    Raises:
        UserError: if it cannot learn with these options, or go on from that; the run is then as it was.
    """

    def __init__(
        self,
        run: Run,
        spaces: Spaces,
        resume: Path | None = None,
        on_release: Callable[[Release, Path], None] | None = None,
    ):
        self.run_folder, self.spaces, self._on_release = run, spaces, on_release
        self._config = run.config
        self.setup = self._config.resolve()
        try:
            self._lock = run.lock()
            self.learner = self._made(resume)
        except UserError:
            run.roll_back_options()
            raise
        run.commit_options()
        super().__init__(run)
        if resume:
            self._go_on_from(resume)

    def _made(self, resume: Path | None) -> Learner:
        options = self.setup.schedule
        prepare_to_compute(options.threads)
        try:
            agent = agent_class(self.setup.agent)(self.setup.agent_options, self.spaces, options.seed)
            learner = Learner(agent, options, self)
            if resume:
                self.run_folder.restore(learner, self.spaces, resume)
        except BaseException:
            self._lock.close()
            raise
        return learner

    def _go_on_from(self, resume: Path) -> None:
        learner = self.learner
        self.run_folder.checkpoints.give_up_after(resume)
        self.run_folder.forget_after(learner.step, learner.evaluated_at, learner.dreams)
        self.goes_on()
        acting = learner.current()
        self.released(acting._replace(weights=acting.weights | learner.agent.policy_state()))

    def close(self) -> None:
        """Flush what is recorded, and let others learn in this folder."""
        super().close()
        self._lock.close()

    def released(self, release: Release) -> None:
        """Write the bundle and hand it on."""
        path = self.run_folder.write_policy(release.weights, self.setup, self.spaces, release.version)
        if self._on_release:
            self._on_release(release, path)

    def dream_started(self, step: int) -> None:
        """Keep the policy as it was before."""
        super().dream_started(step)
        self._keep_around_dream("before")

    def dream_ended(self, step: int, result: DreamResult) -> None:
        """Record the phase with the model's held-out error, and keep the policy that it led to."""
        self.dream_recorded(step, self.learner.dreams, result, self.learner.agent.model_error())
        self._keep_around_dream("after")

    def _keep_around_dream(self, when: str) -> None:
        learner = self.learner
        bundle = bundle_of(learner.agent.policy_weights(), self.setup, self.spaces, learner.version)
        try:
            self.run_folder.keep_around_dream(learner.dreams, when, bundle)
        except OSError as error:
            self.warn(f"policy {when} a dream not kept ({error}): free some disk")

    def save_due(self, step: int) -> None:
        """Save; a full disk is reported and training goes on."""
        self.save()

    def save(self) -> Path | None:
        """Write a checkpoint; None (with a warning) if the disk refuses."""
        try:
            self.run_folder.keep_segment(self.learner.agent.dream_against_reality())
            return self.run_folder.save(self.learner, self.spaces, self._config)
        except OSError as error:
            self.warn(
                f"checkpoint not saved ({error}); training goes on, the older one stays: free some disk"
            )
            return None

    def warn(self, text: str) -> None:
        """Say something that the user should know."""
        print(f"warning: {text}", flush=True)
