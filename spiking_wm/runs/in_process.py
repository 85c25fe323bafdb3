"""Runs in this process: training from an environment or from recordings, and dreaming."""

from collections.abc import Callable, Iterable
from pathlib import Path

from spiking_wm.core.contract import Budget, Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import EnvLike, make_env
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm.runs.folder import Run, resume_point, spaces_of
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.training.evaluation import evaluate
from spiking_wm.training.learner import Evaluation, Learner, Release
from spiking_wm.training.session import Session
from spiking_wm.training.trainer import Acting, take_in
from spiking_wm.training.trainer import train as learn

_EVALUATION_SEED = 7_000_003  # of the first episode after learning from recordings


def _nothing(*_: int) -> None:
    pass


def train(
    run: Run,
    resume: Path | None = None,
    on_step: Callable[[int], None] = _nothing,
    on_update: Callable[[int, int], None] = _nothing,
    stopped: Callable[[], bool] = lambda: False,
    env: EnvLike | None = None,
) -> Learner:
    """Train until the run is finished, or stopped; then a checkpoint is written.

    Args:
        run: the folder, made by `Run.create`.
        resume: a checkpoint to go on from.
        on_step: called with the number of training steps after each.
        on_update: called with the number of updates, and of how many, after each before the first step.
        stopped: whether to end, asked after each step and update.
        env: what environments are made from, if that is not the run's id.

    Returns:
        The learner.

    Raises:
        UserError: if it cannot begin, or the environment returns what it should not; a run that would have
            gone on is then as it was.
    """
    schedule = run.config.resolve().schedule
    try:
        session = Session(
            run.config.env if env is None else env,
            schedule.seed,
            schedule.steps,
            schedule.evaluation.every,
            schedule.evaluation.episodes,
        )
    except BaseException:
        run.roll_back_options()
        raise
    acting = Acting()

    def act_from_now_on(release: Release, path: Path) -> None:
        acting.take(make_policy(load_bundle(path), session.spaces), release.version)

    try:
        learning = LearningRun(run, session.spaces, resume, act_from_now_on)
    except BaseException:
        session.close()
        run.roll_back_options()
        raise
    learner = learning.learner
    try:
        if resume:
            session.resume(**resume_point(resume))
        learn(learner, session, acting, on_step, on_update, stopped)
        learning.save()
    finally:
        learning.close()
        session.close()
    return learner


def train_offline(
    run: Run,
    transitions: Callable[[Spaces], Iterable[Transition]],
    on_step: Callable[[int], None] = _nothing,
) -> Learner:
    """Train from recorded transitions alone, and evaluate the policy at the end.

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
        seeds = range(_EVALUATION_SEED, _EVALUATION_SEED + learner.options.evaluation.episodes)
        learner.evaluated_at = learner.step
        returns = evaluate(policy, env, seeds).returns
        learning.evaluated(Evaluation(learner.step, learner.version, returns))
        learning.save()
    finally:
        learning.close()
        env.close()
    return learner


def dream(
    run: Run,
    budget: Budget,
    on_progress: Callable[[int, int], None] = _nothing,
    stopped: Callable[[], bool] = lambda: False,
) -> Learner:
    """Dream from the newest checkpoint within a budget, with no environment, and save.

    Args:
        run: the folder.
        budget: bounds of the dream phase.
        on_progress: called with the rollouts and updates so far.
        stopped: whether to end before the budget is spent, asked after each unit; what was learned is saved.

    Raises:
        UserError: if there is no checkpoint, or nothing to dream of.
    """
    checkpoint = run.newest()
    learning = LearningRun(run, spaces_of(checkpoint), checkpoint)
    learner = learning.learner
    try:
        learner.start_dream(budget)
        while learner.dreaming and not stopped():
            learner.work()
            on_progress(learner.progress.rollouts, learner.progress.updates)
        learner.end_dream()
        if learning.save() is None:
            raise UserError("the dream was not saved: free some disk, and dream again")
    finally:
        learning.close()
    return learner
