"""A learner together with its run folder."""

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
    """A learner and its run folder: records, writes policies, saves checkpoints, resumes.

    Args:
        run: the folder, made by `Run.create`.
        spaces: the environment's spaces.
        resume: checkpoint to resume from; None: start a new run.
        on_release: called with each release and the path of its bundle.

    Raises:
        UserError: if the agent cannot be made or resumed with these options; the run is then unchanged.
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
        if acting := learner.acting:
            self.released(acting._replace(weights=acting.weights | learner.agent.policy_state()))

    def close(self) -> None:
        """Flush all records and unlock the folder."""
        super().close()
        self._lock.close()

    def released(self, release: Release) -> None:
        """Write the bundle, and call ``on_release``."""
        path = self.run_folder.write_policy(release.weights, self.setup, self.spaces, release.version)
        if self._on_release:
            self._on_release(release, path)

    def dream_started(self, step: int) -> None:
        """Keep the policy from before the dream phase."""
        super().dream_started(step)
        self._keep_around_dream("before")

    def dream_ended(self, step: int, result: DreamResult) -> None:
        """Record the phase with the model's held-out error, and keep the policy from after it."""
        self.dream_recorded(step, self.learner.dreams, result, self.learner.agent.model_error())
        self._keep_around_dream("after")

    def _keep_around_dream(self, when: str) -> None:
        learner = self.learner
        bundle = bundle_of(learner.agent.policy_weights(), self.setup, self.spaces, learner.version)
        try:
            self.run_folder.keep_around_dream(learner.dreams, when, bundle)
        except OSError as error:
            self.warn(f"policy {when} a dream not kept ({error}): free some disk space")

    def save_due(self, step: int) -> None:
        """Save a checkpoint. If the disk is full, print a warning and continue training."""
        self.save()

    def save(self) -> Path | None:
        """Write a checkpoint; returns None (with a warning) if it cannot be written."""
        try:
            self.run_folder.keep_segment(self.learner.agent.dream_against_reality())
            return self.run_folder.save(self.learner, self.spaces, self._config)
        except OSError as error:
            self.warn(
                f"checkpoint not saved ({error}); training continues, older ones stay: free some disk space"
            )
            return None

    def warn(self, text: str) -> None:
        """Print a warning for the user."""
        print(f"warning: {text}", flush=True)
