"""Runs in this process: training from an environment or from recordings, and dreaming."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from spiking_wm.agents import check_spaces
from spiking_wm.core.contract import Budget, Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import EnvLike
from spiking_wm.runs.folder import Run
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm.runs.resuming import resume_point, spaces_of
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

    A checkpoint is written before an exception ends it, too; the traceback is in the run's ``log.txt``.

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
        UserError: if it cannot begin (a run that would have gone on is then as it was); for any exception in
            environment or agent; or if what was learned cannot be saved.
    """
    setup = run.config.resolve()
    acting = Acting(setup.schedule.envs)
    with _beginning(run), ExitStack() as opened:
        session = Session.of(run.config.env if env is None else env, setup.schedule)
        opened.callback(session.close)
        check_spaces(setup.agent, session.spaces)
        if resume:
            session.resume(**resume_point(resume))
        learning = LearningRun(run, session.spaces, resume, _handed_to(acting), stopped)
        opened.pop_all()

    def stepped(step: int) -> None:
        learning.writes.catch_up()
        on_step(step)

    with _saving(learning), closing(session):
        learn(learning.learner, session, acting, stepped, on_update, stopped)
    return learning.learner


def _handed_to(acting: Acting) -> Callable[[Release, Path], None]:
    def take(release: Release, path: Path) -> None:
        bundle = load_bundle(path)
        acting.take(make_policy(bundle, Spaces.from_json(bundle.facts["spaces"])), release.version)

    return take


@contextmanager
def _beginning(run: Run) -> Iterator[None]:
    """Context before learning begins: an exception leaves the run as it was, and is told in one line.

    Raises:
        UserError: for any exception.
    """
    try:
        yield
    except BaseException as error:
        run.roll_back_options()
        if isinstance(error, KeyboardInterrupt) or (isinstance(error, UserError) and not error.__cause__):
            raise
        raise UserError(run.one_line(error)) from error


@contextmanager
def _saving(learning: LearningRun) -> Iterator[None]:
    """Context of learning: whatever ends it, what was learned is saved.

    Raises:
        UserError: for any exception, or if it cannot be saved.
    """
    try:
        yield
        learning.finish()
    except KeyboardInterrupt as error:
        learning.failed(error)
        raise
    except (Exception, SystemExit) as error:
        raise learning.failed(error) from error
    finally:
        learning.close()


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
    acting = Acting()
    with _beginning(run), ExitStack() as opened:
        env = run.config.make_env()
        opened.callback(env.close)
        learning = LearningRun(run, Spaces.of(env), None, _handed_to(acting))
        opened.pop_all()
    learner = learning.learner
    with _saving(learning), closing(env):
        while learner.work():
            pass
        take_in(learner, transitions(learning.spaces), on_step)
        learner.release()
        seeds = range(_EVALUATION_SEED, _EVALUATION_SEED + learner.options.evaluation.episodes)
        learner.evaluated_at = learner.step
        returns = evaluate(acting.of(True).policy, env, seeds).returns
        learning.evaluated(Evaluation(learner.step, learner.version, returns))
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
    learning = LearningRun(run, spaces_of(checkpoint), checkpoint, stopped=stopped)
    learner = learning.learner
    with _saving(learning):
        learner.start_dream(budget)
        while learner.dreaming and not stopped():
            learner.work()
            learning.writes.catch_up()
            on_progress(learner.progress.rollouts, learner.progress.updates)
        learner.end_dream()
    return learner
