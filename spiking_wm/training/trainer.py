"""Training in one process, with no ROS: the reference that the graph must agree with."""

from collections.abc import Callable, Iterable
from pathlib import Path

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.presets import agent_class
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.bundle import load_bundle, make_policy
from spiking_wm.runs.folder import Run, bundle_of, resume_point
from spiking_wm.runs.recorder import Recorder
from spiking_wm.training.evaluation import play
from spiking_wm.training.learner import DreamResult, Evaluation, Learner, Release
from spiking_wm.training.session import Session, make_env

_JUDGED = 7_000_003  # seed of the first game after learning from recordings


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

    def __init__(self, run: Run, spaces, resume: Path | None = None, on_release: Callable | None = None):
        self.run_folder, self.spaces, self._on_release = run, spaces, on_release
        self._config = run.config
        self.setup = self._config.settle()
        try:
            self._held = run.hold()
            self.learner = self._made(resume)
        except UserError:
            run.did_not_go_on()
            raise
        run.went_on()
        super().__init__(run)
        if resume:
            self._go_on_from(resume)

    def _made(self, resume: Path | None) -> Learner:
        options = self.setup.run_options
        prepare_to_compute(options.threads)
        try:
            agent = agent_class(self.setup.agent)(self.setup.agent_options, self.spaces, options.seed)
            learner = Learner(agent, options, self)
            if resume:
                self.run_folder.restore(learner, self.spaces, resume)
        except BaseException:
            self._held.close()
            raise
        return learner

    def _go_on_from(self, resume: Path) -> None:
        learner = self.learner
        self.run_folder.checkpoints.give_up_after(resume)
        self.run_folder.forget_after(learner.step, learner.evaluated_at, learner.dreams)
        self.goes_on()
        acting = learner.acting
        self.released(acting._replace(weights=acting.weights | learner.agent.policy_state()))

    def close(self) -> None:
        """Flush what is recorded, and let others learn in this folder."""
        super().close()
        self._held.close()

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
            if self.learner.acting is None:  # stopped before anything could act
                self.learner.release()
            self.run_folder.keep_stretch(self.learner.agent.dream_against_reality())
            return self.run_folder.save(self.learner, self.spaces, self._config)
        except OSError as error:
            self.warn(
                f"checkpoint not saved ({error}); training goes on, the older one stays: free some disk"
            )
            return None

    def warn(self, text: str) -> None:
        """Say something that the user should know."""
        print(f"warning: {text}", flush=True)


def take_in(
    learner: Learner, transitions: Iterable[Transition], on_step: Callable = lambda step: None
) -> None:
    """Learn from what was recorded as from what comes: in order, each with all that is due after it."""
    for transition in transitions:
        learner.observe(transition._replace(step=learner.step))
        while learner.work():
            pass
        on_step(learner.step)


def train_offline(
    run: Run,
    transitions: Callable[[Spaces], Iterable[Transition]],
    on_step: Callable[[int], None] = lambda step: None,
) -> Learner:
    """Train from recorded transitions alone, and judge the policy at the end.

    Args:
        run: the folder, made by `Run.create`.
        transitions: what was recorded, for the environment's spaces.
        on_step: called with the number of transitions learned from after each.
    """
    env = make_env(run.config.env)
    learning = LearningRun(run, Spaces.of(env))
    learner = learning.learner
    try:
        while learner.work():
            pass
        take_in(learner, transitions(learning.spaces), on_step)
        policy = make_policy(load_bundle(run.policy_path(learner.release().version)), learning.spaces)
        games = range(_JUDGED, _JUDGED + learner.options.evaluation_episodes)
        learner.evaluated_at = learner.step
        learning.evaluated(
            Evaluation(learner.step, learner.version, tuple(play(policy, env, seed) for seed in games))
        )
        learning.save()
    finally:
        learning.close()
        env.close()
    return learner


def train(
    run: Run,
    resume: Path | None = None,
    on_step: Callable[[int], None] = lambda step: None,
    on_update: Callable[[int, int], None] = lambda updates, of: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Learner:
    """Train in this process until the run is finished, or stopped; then a checkpoint is written.

    Args:
        run: the folder, made by `Run.create`.
        resume: a checkpoint to go on from.
        on_step: called with the number of training steps after each.
        on_update: called with the number of updates, and of how many, after each before the first step.
        stopped: whether to end, asked after each step and update.

    Returns:
        The learner.
    """
    options = run.config.settle().run_options
    session = Session(
        run.config.env,
        options.seed,
        options.steps,
        options.evaluate_every,
        options.evaluation_episodes,
    )
    policy, version = None, 0

    def act_from_now_on(release: Release, path: Path) -> None:
        nonlocal policy, version
        policy, version = make_policy(load_bundle(path), session.spaces), release.version

    learning = LearningRun(run, session.spaces, resume, act_from_now_on)
    learner = learning.learner
    exploration = Exploration(options.seed)
    states = {False: None, True: None}  # of the policy, in training and in evaluations
    if resume:
        session.resume(**resume_point(resume))
        states[False] = policy.state_to_join()
    try:
        while not stopped() and learner.work():
            on_update(learner.updates, learner.agent.updates_first)
        while not (learner.finished or stopped()):
            pending = session.pending()
            evaluation = pending.evaluation
            if pending.episode_step == 0:
                states[evaluation] = policy.initial_state(pending.episode)
            rng = None if evaluation else exploration.at(pending.step)
            action, states[evaluation] = policy.act(pending.observation, states[evaluation], rng)
            transition = session.apply(action, version)
            states[evaluation] = policy.rewarded(states[evaluation], transition.reward)
            learner.observe(transition)
            on_step(learner.step)
            while (learner.finished or not stopped()) and learner.work():
                pass
        learner.wake()
        learning.save()
    finally:
        learning.close()
        session.close()
    return learner
