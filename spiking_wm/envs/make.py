"""Environments by id, by ``module:name``, by a function that makes them, or as they are."""

import dataclasses
import difflib
import importlib
from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import gymnasium as gym

from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.envs.mujoco_warnings import without_known_warnings
from spiking_wm.envs.registration import register_for

EnvLike = str | gym.Env | Callable[[], gym.Env]
_CHANGED = " (changed)"  # ends the name of an environment that is not as its id makes it


class EnvSource(NamedTuple):
    """Where environments come from.

    ``name`` is what a run keeps. ``single`` is an environment that was given as it is: there is only one.
    """

    name: str
    factory: Callable[[], gym.Env]
    single: bool = False


def source_of(env: EnvLike) -> EnvSource:
    """What `make_env` makes environments from.

    Args:
        env: an id, ``module:Id-v0`` or ``module:function``, a function that makes one, or an environment. Of
            an environment that Gymnasium knows how to make, with its wrappers, new ones are made.

    Raises:
        UserError: for an id that Gymnasium does not know, or what makes no environments.
    """
    if isinstance(env, str):
        return EnvSource(env, _by_name(env))
    if isinstance(env, gym.Env):
        spec = env.spec
        if spec is None or any(wrapper.kwargs is None for wrapper in spec.additional_wrappers):
            return EnvSource(_name_of(type(env)), lambda: env, single=True)
        return EnvSource(spec.id if _as_registered(spec) else spec.id + _CHANGED, lambda: gym.make(spec))
    if isinstance(env, gym.vector.VectorEnv) or not callable(env):
        raise UserError(
            f"env is {type(env).__name__}: give an id, 'module:name', a function that makes an environment,"
            f" or a Gymnasium environment (not a vectorised one)"
        )
    return EnvSource(_name_of(env if hasattr(env, "__qualname__") else type(env)), env)


def _name_of(factory: Any) -> str:
    return f"{factory.__module__}:{factory.__qualname__}"


def _as_registered(spec: Any) -> bool:
    """Whether an environment is what its id makes: no other wrappers or arguments, but for rendering."""
    kwargs = {name: value for name, value in spec.kwargs.items() if name != "render_mode"}
    return dataclasses.replace(spec, kwargs=kwargs) == gym.registry.get(spec.id)


def make_env(env: EnvLike) -> gym.Env:
    """Make an environment.

    Raises:
        UserError: for an id that Gymnasium does not know or cannot make, or if an extra is missing.
    """
    name, factory, _ = source_of(env)
    try:
        with missing_extra():
            _load(name)
            with without_known_warnings():
                made = factory()
    except UserError:
        raise
    except Exception as error:  # of Gymnasium, or of whoever wrote the environment
        raise UserError(f"environment '{name}' cannot be made: {_told(error)}") from error
    if not isinstance(made, gym.Env):
        raise UserError(f"'{name}' makes no Gymnasium environment but {type(made).__name__}")
    return made


def _told(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, gym.error.Error) else f"{type(error).__name__}: {text}"


def _load(name: str) -> None:
    """Import the module of a registered environment: then it is known whether MuJoCo is needed."""
    entry = getattr(gym.registry.get(name), "entry_point", None)
    if isinstance(entry, str):
        importlib.import_module(entry.partition(":")[0])


def check_env(env_id: str) -> None:
    """Refuse an id that is not known, without making the environment.

    Raises:
        UserError: naming one that is near, or how to find them.
    """
    _by_name(env_id)


def _by_name(env_id: str) -> Callable[[], gym.Env]:
    module_name, colon, name = env_id.partition(":")
    if not colon:
        register_for(env_id)
        _check_registered(env_id)
        return lambda: gym.make(env_id)
    try:
        with missing_extra():
            module: Any = importlib.import_module(module_name)
    except UserError:
        raise
    except ModuleNotFoundError as error:
        raise UserError(
            f"env:={env_id}: there is no module '{error.name}': install it, or set PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        raise UserError(f"env:={env_id}: '{module_name}' cannot be imported: {_told(error)}") from error
    if name in gym.registry:
        return lambda: gym.make(name)
    try:
        factory = attrgetter(name)(module)
    except AttributeError:
        factory = None
    if callable(factory):
        return factory
    raise UserError(
        f"env:={env_id}: '{module_name}' registers no environment '{name}' and has no such function"
    )


def _check_registered(env_id: str) -> None:
    try:
        gym.spec(env_id)
    except gym.error.Error:
        if env_id.endswith(_CHANGED):
            advice = "evaluate or resume it there, with env="
            raise UserError(f"'{env_id}' was changed in Python: {advice}") from None
        near = difflib.get_close_matches(env_id, gym.registry, n=1)
        advice = f"did you mean '{near[0]}'?" if near else "gymnasium.pprint_registry() lists those there are"
        raise UserError(f"unknown environment '{env_id}'; {advice}") from None
