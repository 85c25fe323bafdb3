"""What users call: the same code that the command line and the ROS graph run."""

import json
import operator
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from spiking_wm.core.contract import Budget
from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import close
from spiking_wm.core.presets import Setup, resolve
from spiking_wm.core.progress import bars
from spiking_wm.envs.make import EnvLike, make_env, source_of
from spiking_wm.runs.config import checked, is_abandoned, is_run, without_evaluations

if TYPE_CHECKING:
    from spiking_wm.core.player import Player
    from spiking_wm.runs.folder import Run
    from spiking_wm.training.evaluation import Returns

_EVALUATION_SEED = 8_000_009  # of the first episode


def make(env: EnvLike, env_kwargs: Mapping[str, Any] | None = None) -> gym.Env:
    """Make an environment: one of ours, of Gymnasium, or of your own.

    Args:
        env: a Gymnasium id, ``module:Id-v0`` or ``module:function``, a function that makes an environment, or
            an environment. Of one that `gymnasium.make` made, with whatever wrappers and arguments, a new one
            is made; any other is taken as it is.
        env_kwargs: arguments of its constructor; of an id also those of `gymnasium.make`.

    Raises:
        UserError: if there is none of that name, it cannot be made, or the extra that it needs is missing.
    """
    return make_env(env, env_kwargs or {})


def train(
    algorithm: str,
    env: EnvLike,
    *,
    steps: int | None = None,
    seed: int | None = None,
    run: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> "Run":
    """Train an agent in an environment, awake and in dreams, and keep everything in a run folder.

    An interrupt (Ctrl-C, or a notebook's stop) ends it cleanly; a run that is there goes on by `resume`.

    Args:
        algorithm: name of a preset, as ``popsan_dream``, or of a registered agent.
        env: as in `make`. An environment that is taken as it is cannot be evaluated in: there is only one.
        steps: environment steps of training; default: the preset's.
        seed: of everything random.
        run: folder of the run, new or empty; default: a new one in ``runs/``.
        progress: show a progress bar.
        options: of the algorithm and the schedule, groups as dictionaries or with ``_`` for the dot:
            ``critic={"lr": 1e-4}`` or ``critic_lr=1e-4``; ``env_kwargs`` is a dictionary.

    Returns:
        The run: its ``evaluations``, its tables (`Run.table`) and its curve (`Run.plot`).

    Raises:
        UserError: for anything that could not run, before anything is written.
    """
    from spiking_wm.runs.folder import Run, new_run_path

    given = _as_text(options) | {k: v for k, v in (("steps", steps), ("seed", seed)) if v is not None}
    source = source_of(env)
    setup = checked(resolve(algorithm, source.name, given))
    if source.single:
        setup = without_evaluations(setup, "a single environment")
    if run is None:
        path = _empty(new_run_path(setup, source.name).absolute(), numbered=True)
    else:
        path = _empty(_path(run))
    try:
        return _train(Run.create(path, setup, source.name), None, setup, env, progress)
    except BaseException:
        if not (path / "policies").exists():  # it could not start: nothing is left of it
            shutil.rmtree(path, ignore_errors=True)
        raise


def _empty(path: Path, numbered: bool = False) -> Path:
    """Make the folder of a new run, which nobody else has; nothing that is there is touched.

    Args:
        path: the folder.
        numbered: make one beside it, with a number, if it is there.

    Raises:
        UserError: if it is there and not empty, or cannot be made.
    """
    from spiking_wm.core.files import CheckpointFolder

    folder, number = path, 1
    while True:
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if numbered:
                number += 1
                folder = path.with_name(f"{path.name}_{number}")
                continue
            if path.is_dir() and (not any(path.iterdir()) or is_abandoned(path)):
                return path
        except (OSError, ValueError) as error:
            raise UserError(f"run {path} cannot be made ({error}): choose another folder") from None
        if not is_run(path):
            raise UserError(f"{path} holds something else: choose a new or an empty folder for the run")
        saved = CheckpointFolder(path / "checkpoints").all()
        goes_on = f", or spiking_wm.resume('{path}')" if saved else ""
        raise UserError(f"{path} is a run already: choose another folder{goes_on}")


def resume(
    run: "str | Path | Run",
    *,
    steps: int | None = None,
    env: EnvLike | None = None,
    progress: bool = True,
    **options: Any,
) -> "Run":
    """Go on with a run from its newest checkpoint, with the options it had but for those given.

    Args:
        run: the run, its folder, or a checkpoint in it; what came after an older checkpoint is given up.
        steps: environment steps of the whole run.
        env: what environments are made from, if that is no name that the run could keep.
        progress: show a progress bar.
        options: as in `train`.

    Raises:
        UserError: if there is no checkpoint, or all steps are done.
    """
    from spiking_wm.core.files import newest_checkpoint
    from spiking_wm.runs.config import done, read_config
    from spiking_wm.runs.folder import Run

    checkpoint = newest_checkpoint(_path(run)).resolve()
    path = checkpoint.parent.parent
    config = read_config(path)
    setup = checked(config.resolve(_as_text(options) | ({} if steps is None else {"steps": steps})))
    if done(checkpoint, setup.schedule):
        raise UserError(
            f"{path} has done its {setup.schedule.steps} steps: give more steps, or read its report,"
            f" {path / 'report.html'} (./swm report {path} writes it)"
        )
    source_of(_known(config.env) if env is None else env)  # refuses what cannot be, before anything changes
    created = Run.create(path, setup, config.env)
    return _train(created, checkpoint, setup, config.env if env is None else env, progress)


def _train(run: "Run", checkpoint: Path | None, setup: Setup, env: EnvLike, progress: bool) -> "Run":
    from spiking_wm.core.process import interrupted
    from spiking_wm.runs.in_process import train as train_here

    steps = setup.schedule.steps
    with _threads_kept(), interrupted() as stopped, bars(progress) as bar:
        updating = bar.add_task("demonstrations", total=None, visible=False)
        training = bar.add_task(f"{setup.algorithm} in {run.config.env}", total=steps)
        learner = train_here(
            run,
            checkpoint,
            lambda step: bar.update(training, completed=step),
            lambda updates, of: bar.update(updating, completed=updates, total=of, visible=of > 0),
            stopped,
            env,
        )
        if not learner.finished:
            print(f"stopped after {learner.step} steps: spiking_wm.resume('{run.path}') goes on")
    return run


def _as_text(options: dict[str, Any]) -> dict[str, Any]:
    """The options, with ``env_kwargs`` as the text that a run keeps.

    Raises:
        UserError: if a run cannot keep them.
    """
    if not isinstance(kwargs := options.get("env_kwargs"), Mapping):
        return options
    try:
        return options | {"env_kwargs": json.dumps(kwargs)}
    except (TypeError, ValueError) as error:
        raise UserError(
            f"env_kwargs can hold what JSON can ({error}): for other arguments give a function as env"
        ) from None


def dream(
    run: "str | Path | Run",
    *,
    rollouts: int | None = None,
    updates: int | None = None,
    seconds: float | None = None,
    progress: bool = True,
) -> "Run":
    """Dream from the newest checkpoint of a run, with no environment, and save.

    An interrupt ends it early; what was learned until then is saved.

    Args:
        run: the run, or its folder.
        rollouts: imagined rollouts at most.
        updates: policy updates at most.
        seconds: time at most. With no bound at all, as many rollouts as a scheduled dream has.
        progress: show a progress bar.

    Raises:
        UserError: if there is no checkpoint, or no world model to dream in, or a bound is none.
    """
    from spiking_wm.core.process import interrupted
    from spiking_wm.runs.folder import Run
    from spiking_wm.runs.in_process import dream as dream_here

    found = Run(_path(run))
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        raise UserError(f"seconds={seconds!r} is no time: give a number above 0")
    budget = Budget(
        None if rollouts is None else _whole("rollouts", rollouts, 1),
        None if updates is None else _whole("updates", updates, 1),
        seconds,
    )
    if budget == Budget():
        budget = Budget(rollouts=found.config.resolve().schedule.dream.rollouts)
    with _threads_kept(), interrupted() as stopped, bars(progress) as bar:
        total = budget.rollouts or budget.updates
        task = bar.add_task("dreaming", total=total)

        def show(rollouts: int, updates: int) -> None:
            bar.update(task, completed=rollouts if budget.rollouts else updates)

        dream_here(found, budget, show, stopped)
    return found


def load_policy(policy: "str | Path | Run") -> "Player":
    """The policy of a run's newest checkpoint, of a checkpoint, or of a policy bundle, ready to act.

    Call `Player.reset` at the start of an episode and `Player.act` at every step; for policies that go by
    rewards (decision transformers), `Player.rewarded` after each.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    from spiking_wm.core.files import newest_checkpoint
    from spiking_wm.core.player import Player
    from spiking_wm.core.spaces import Spaces
    from spiking_wm.runs.config import is_run, read_config
    from spiking_wm.runs.policy_bundle import load_bundle, make_policy

    path = _path(policy).resolve()
    if path.is_file():
        file, folder = path, next((parent for parent in path.parents if is_run(parent)), None)
    else:
        checkpoint = newest_checkpoint(path)
        file, folder = checkpoint / "policy.safetensors", checkpoint.parent.parent
    bundle = load_bundle(file)
    player = Player(make_policy(bundle, Spaces.from_json(bundle.facts["spaces"])), own_form=True)
    if folder is not None:
        config = read_config(folder)
        player.env, player.env_kwargs = config.env, config.env_kwargs
    player.reset()
    return player


def evaluate(
    policy: "str | Path | Run | Player",
    *,
    episodes: int = 10,
    env: EnvLike | None = None,
    seed: int = _EVALUATION_SEED,
) -> "Returns":
    """Play greedy episodes.

    Args:
        policy: from `load_policy`, or what that takes.
        episodes: how many.
        env: as in `make`; default: the environment of the policy's run.
        seed: of the first episode's start; the others follow.

    Returns:
        ``returns`` and ``lengths`` of all episodes, their ``mean`` and ``std``.

    Raises:
        UserError: if the environment is not known, or the policy was made for other spaces.
    """
    from spiking_wm.core.player import Player
    from spiking_wm.core.spaces import Spaces
    from spiking_wm.runs.policy_bundle import check_spaces
    from spiking_wm.training.evaluation import evaluate as play

    player = policy if isinstance(policy, Player) else load_policy(policy)
    if env is None and player.env is None:
        raise UserError("this policy's run is not known: give env=")
    first = _whole("seed", seed, 0)
    seeds = range(first, first + _whole("episodes", episodes, 1))
    made = make_env(_known(str(player.env)), player.env_kwargs) if env is None else make_env(env)
    try:
        check_spaces(player.policy.spaces.to_json(), Spaces.of(made), "policy")
        return play(player.policy, made, seeds)
    finally:
        if made is not env:
            close(made)


def _path(run: "str | Path | Run") -> Path:
    """The folder or file, wherever the working directory goes from here."""
    path = getattr(run, "path", run)
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"{run!r} is no run: give its folder, or what spiking_wm.train returned")
    return Path(path).expanduser().absolute()


def _known(env: str) -> str:
    """The environment that a run keeps the name of.

    Raises:
        UserError: if the name is not enough to make it again.
    """
    try:
        source_of(env)
    except UserError as error:
        raise UserError(f"the run's environment is not known by its name here ({error}): give env=") from None
    return env


def _whole(name: str, number: Any, least: int) -> int:
    try:
        whole = operator.index(number)
    except TypeError:
        whole = least - 1
    if isinstance(number, bool) or whole < least:
        raise UserError(f"{name}={number!r} is no whole number from {least} on")
    return whole


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Within it learning has as many threads as its options say; the caller's torch gets its own back."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
