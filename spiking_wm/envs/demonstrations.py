"""Demonstrations for offline learning: episodes of stable-baselines3 experts, stored as Minari data sets."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from spiking_wm.core import game_loop as game_loop
from spiking_wm.core.data import data_folder
from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.core.options import read_yaml
from spiking_wm.envs.make import make_env

KINDS = ("expert", "medium", "random", "mixed")
_EVALUATIONS, _JUDGED = 20, 20  # evaluations of an expert during training; episodes per evaluation
_SEED = 3_000_017  # of the first demonstrated episode

Progress = Callable[[str, int, int], None]
Act = Callable[[np.ndarray], np.ndarray]  # actions for observations [N, ...] of games side by side


class Recipe(NamedTuple):
    """How an expert is trained, as in ``config/demos/ENV.yaml``."""

    algorithm: str  # of stable-baselines3: PPO, DQN or SAC
    steps: int  # environment steps
    options: dict[str, Any]  # keyword arguments of the algorithm
    hidden: tuple[int, ...] = (64, 64)  # units of the hidden layers
    copies: int = 1  # parallel environments
    medium: float = 0.3  # share of training after which the policy is saved as "medium"
    drawn: bool = False  # true: actions are sampled from the policy; false: most probable actions


def recipe_of(env_id: str) -> Recipe:
    """The recipe of an environment.

    Raises:
        UserError: if there is none, or its file has wrong keys or an unknown algorithm.
    """
    folder = data_folder("config") / "demos"
    file = folder / f"{env_id.replace('/', '-')}.yaml"
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise UserError(f"no recipe for experts in {env_id}: write {file}; there are recipes for {known}")
    try:
        recipe = Recipe(**read_yaml(file))
    except TypeError as error:
        raise UserError(f"{file}: {error}; known: {', '.join(Recipe._fields)}") from None
    if recipe.algorithm not in ("PPO", "DQN", "SAC"):
        raise UserError(f"{file}: algorithm {recipe.algorithm} is not one of PPO, DQN, SAC")
    return recipe


def name_of(env_id: str, kind: str) -> str:
    """The Minari id of a data set that `collect` makes."""
    return f"{env_id}/{kind}-v0"


def collect(env_id: str, seed: int, episodes: int, progress: Progress) -> list[str]:
    """Train an expert, play ``episodes`` of every kind, and store them as data sets.

    Existing data sets of these names are replaced once the new ones are complete.

    Args:
        env_id: Gymnasium id.
        seed: seed of the expert.
        episodes: number of episodes of each kind; ``mixed`` contains all others.
        progress: called with the current task, the amount done, and the total amount.

    Returns:
        Minari ids, in the order of `KINDS`.

    Raises:
        UserError: for an environment without a recipe, or if the extra ``demos`` is not installed.
    """
    recipe = recipe_of(env_id)
    played: dict[str, list[Any]] = {}
    space = make_env(env_id).action_space
    space.seed(seed)

    def play_kind(kind: str, act: Act) -> None:
        played[kind] = play(env_id, act, episodes, lambda done: progress(kind, done, episodes))

    expert = train(env_id, recipe, seed, progress, lambda act: play_kind("medium", act))
    play_kind("expert", expert)
    play_kind("random", lambda observations: np.stack([space.sample() for _ in observations]))
    return keep(env_id, played, f"{recipe.algorithm} (stable-baselines3), seed {seed}")


def keep(env_id: str, played: dict[str, list[Any]], expert: str) -> list[str]:
    """Write episodes of every kind as data sets, and all together as ``mixed``.

    All are written before the first one replaces an existing data set.

    Args:
        env_id: Gymnasium id.
        played: Minari's episode buffers by kind, all of `KINDS` but ``mixed``, which is added.
        expert: description of the expert, for the data sets' metadata.

    Returns:
        Minari ids, in the order of `KINDS`.
    """
    with missing_extra():
        import minari
        from minari.namespace import create_namespace, list_local_namespaces
        from minari.storage.datasets_root_dir import get_dataset_path

    root, ids = get_dataset_path(), [name_of(env_id, kind) for kind in KINDS]
    played["mixed"] = [episode for kind in ("expert", "medium", "random") for episode in played[kind]]
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        with _kept_in(folder):
            for kind, name in zip(KINDS, ids):
                minari.create_dataset_from_buffers(
                    name,
                    [replace(episode, id=number) for number, episode in enumerate(played[kind])],
                    env=env_id,
                    algorithm_name=f"{kind} of {expert}",
                    description=f"{len(played[kind])} episodes by ./swm demos",
                )
        if env_id not in list_local_namespaces():
            create_namespace(env_id)
        for name in ids:
            shutil.rmtree(root / name, ignore_errors=True)
            (Path(folder) / name).replace(root / name)
    return ids


@contextmanager
def _kept_in(folder: str) -> Iterator[None]:
    """Context in which Minari stores data sets in ``folder`` and prints no warnings."""
    name = "MINARI_DATASETS_PATH"
    before = os.environ.get(name)
    os.environ[name] = folder
    try:
        with warnings.catch_warnings():  # about metadata that only published data sets need
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def train(env_id: str, recipe: Recipe, seed: int, progress: Progress, at_half: Callable[[Act], None]) -> Act:
    """Train an expert.

    Args:
        env_id: Gymnasium id.
        recipe: how to train it.
        seed: seed of training and of the environments.
        progress: as in `collect`.
        at_half: called once with the policy after a share of ``recipe.medium`` of the steps.

    Returns:
        The policy with the best evaluation during training.
    """
    with missing_extra():
        import stable_baselines3 as sb3
        from stable_baselines3.common.callbacks import BaseCallback, EvalCallback
        from stable_baselines3.common.env_util import make_vec_env
    import torch

    torch.set_num_threads(1)

    class Watch(BaseCallback):
        """Reports progress, and passes on the medium policy."""

        halfway = False

        def _on_step(self) -> bool:
            progress("expert learns", min(self.num_timesteps, recipe.steps), recipe.steps)
            if not self.halfway and self.num_timesteps >= recipe.medium * recipe.steps:
                self.halfway = True
                at_half(_acting(self.model, recipe))
            return True

    copies = make_vec_env(lambda: make_env(env_id), recipe.copies, seed=seed)
    judge = make_vec_env(lambda: make_env(env_id), 1, seed=seed + recipe.copies)
    with tempfile.TemporaryDirectory() as folder:
        every = max(recipe.steps // _EVALUATIONS // recipe.copies, 1)
        best = EvalCallback(
            judge,
            n_eval_episodes=_JUDGED,
            eval_freq=every,
            best_model_save_path=folder,
            deterministic=not recipe.drawn,
            verbose=0,
        )
        kind = getattr(sb3, recipe.algorithm)
        model = kind(
            "MlpPolicy",
            copies,
            seed=seed,
            policy_kwargs={"net_arch": list(recipe.hidden)},
            device="cpu",
            **recipe.options,
        )
        model.learn(recipe.steps, callback=[Watch(), best])
        return _acting(kind.load(Path(folder) / "best_model", device="cpu"), recipe)


def _acting(model: Any, recipe: Recipe) -> Act:
    return lambda observation: model.predict(observation, deterministic=not recipe.drawn)[0]


def play(env_id: str, act: Act, episodes: int, progress: Callable[[int], None]) -> list[Any]:
    """Play episodes in parallel environments.

    Args:
        env_id: Gymnasium id.
        act: returns actions for the observations of the running episodes.
        episodes: number of episodes.
        progress: called after each episode with the number of finished episodes.

    Returns:
        Minari's episode buffers.
    """
    with missing_extra():
        from minari.data_collector import EpisodeBuffer

    games = [make_env(env_id) for _ in range(episodes)]
    space = games[0].action_space
    discrete = isinstance(space, gym.spaces.Discrete)
    seeds = range(_SEED, _SEED + episodes)
    fields = ("observations", "actions", "rewards", "terminations", "truncations")
    courses: list[dict[str, list[Any]]] = [{name: [] for name in fields} for _ in games]

    def chosen(_: list[int], seen: list[Any]) -> Iterable[Any]:
        actions = act(np.stack(seen))
        return [int(action) if discrete else np.asarray(action, space.dtype) for action in actions]

    finished = 0
    for steps in game_loop.play(games, seeds, chosen):
        for step in steps:
            course = courses[step.game]
            if not course["observations"]:
                course["observations"].append(step.observation)
            values = (step.next_observation, step.action, step.reward, step.terminated, step.truncated)
            for name, value in zip(fields, values):
                course[name].append(value)
            if step.done:
                finished += 1
                progress(finished)
    return [EpisodeBuffer(id=k, seed=seeds[k], infos={}, **courses[k]) for k in range(episodes)]
