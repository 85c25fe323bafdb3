"""Environments by id, by ``module:name``, by a function that makes them, or as they are."""

import dataclasses
import difflib
import importlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib.metadata import entry_points
from operator import attrgetter
from types import MappingProxyType
from typing import Any, NamedTuple

import gymnasium as gym

from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.core.game_loop import told
from spiking_wm.envs.mujoco_warnings import without_known_warnings
from spiking_wm.envs.registration import register_for

EnvLike = str | gym.Env | Callable[..., gym.Env]
ENTRY_POINTS = "gymnasium.envs"  # group of entry points with which packages register their environments
_CHANGED = " (changed)"  # ends the name of an environment that is not as its id makes it


class EnvSource(NamedTuple):
    """Where environments come from.

    ``name`` is what a run keeps. ``single`` is an environment that was given as it is: there is only one.
    """

    name: str
    factory: Callable[..., gym.Env]
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
            return EnvSource(_name_of(type(env)), _the_same(env), single=True)
        name = spec.id if _as_registered(spec) else spec.id + _CHANGED
        return EnvSource(name, lambda **kwargs: gym.make(spec, **kwargs))
    if isinstance(env, gym.vector.VectorEnv) or not callable(env):
        raise UserError(
            f"env is {type(env).__name__}: give an id, 'module:name', a function that makes an environment,"
            f" or a Gymnasium environment (not a vectorised one)"
        )
    return EnvSource(_name_of(env if hasattr(env, "__qualname__") else type(env)), env)


def portable(env: EnvLike) -> EnvSource:
    """As `source_of`, for a process that has not registered what this one has."""
    source = source_of(env)
    if isinstance(env, str) and (env_id := env.rpartition(":")[2]) in gym.registry:
        return source._replace(factory=partial(gym.make, gym.registry[env_id]))
    return source


def _name_of(factory: Any) -> str:
    return f"{factory.__module__}:{factory.__qualname__}"


def _as_registered(spec: Any) -> bool:
    """Whether an environment is what its id makes: no other wrappers or arguments, but for rendering."""
    kwargs = {name: value for name, value in spec.kwargs.items() if name != "render_mode"}
    return dataclasses.replace(spec, kwargs=kwargs) == gym.registry.get(spec.id)


def _the_same(env: gym.Env) -> Callable[..., gym.Env]:
    def factory(**kwargs: Any) -> gym.Env:
        if kwargs:
            raise UserError(
                "env_kwargs are for an environment that is still to be made: give a function or an id"
            )
        return env

    return factory


def make_env(env: EnvLike, kwargs: Mapping[str, Any] = MappingProxyType({})) -> gym.Env:
    """Make an environment.

    Args:
        env: as in `source_of`.
        kwargs: arguments of its constructor; of an id also those of `gymnasium.make`.

    Raises:
        UserError: for an id that Gymnasium does not know or cannot make, or if an extra is missing.
    """
    return made_from(source_of(env), kwargs)


def made_from(source: EnvSource, kwargs: Mapping[str, Any] = MappingProxyType({})) -> gym.Env:
    """As `make_env`, from a source of `source_of`."""
    name, factory, _ = source
    try:
        with missing_extra():
            _load(name)
            with without_known_warnings():
                made = factory(**kwargs)
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # of Gymnasium, or of whoever wrote the environment
        wrong = isinstance(error, TypeError) and "argument" in str(error)
        advice = ": give its arguments as env_kwargs:='{name: value}'" if wrong else ""
        raise UserError(f"environment '{name}' cannot be made: {told(error)}{advice}") from error
    if not isinstance(made, gym.Env):
        raise UserError(f"'{name}' makes no Gymnasium environment but {type(made).__name__}")
    return made


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


def _by_name(env_id: str) -> Callable[..., gym.Env]:
    module_name, colon, name = env_id.partition(":")
    if not colon:
        register_for(env_id)
        if env_id not in gym.registry:
            _register_those_of_packages()
        _check_registered(env_id)
        return lambda **kwargs: gym.make(env_id, **kwargs)
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
        raise UserError(f"env:={env_id}: '{module_name}' cannot be imported: {told(error)}") from error
    if name in gym.registry:
        return lambda **kwargs: gym.make(name, **kwargs)
    try:
        factory = attrgetter(name)(module)
    except AttributeError:
        factory = None
    if callable(factory):
        return factory
    raise UserError(
        f"env:={env_id}: '{module_name}' registers no environment '{name}' and has no such function"
    )


@cache
def _register_those_of_packages() -> None:
    """Load the entry points of installed packages: functions, or modules, that register environments."""
    for point in entry_points(group=ENTRY_POINTS):
        try:
            loaded = point.load()
            if callable(loaded):
                loaded()
        except (Exception, SystemExit) as error:  # of a package that may not be concerned
            print(f"warning: {point.value} registers no environments: {told(error)}", flush=True)


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
