"""Observation space, action space and control period: checks, and conversion to JSON."""

import json
import math
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces as gym_spaces

from spiking_wm.core.errors import UserError
from spiking_wm.core.flat_spaces import Combinations, Flattened, Rounded, actions, observations

_USUAL_PERIOD = 0.02  # seconds


class Spaces(NamedTuple):
    """Observation and action space of an environment, and the time between two actions in seconds.

    Vector observations are float32; pictures stay uint8. What is no vector or picture is a `Flattened` space,
    several discrete actions are `Combinations`, vectors of whole numbers `Rounded`; all convert from or to
    the environment's own form.
    """

    observation: gym_spaces.Box
    action: gym_spaces.Box | gym_spaces.Discrete
    period: float

    @staticmethod
    def of(env: gym.Env) -> "Spaces":
        """The spaces of a Gymnasium environment; its period is 0.02 s if it does not give one.

        Raises:
            UserError: for spaces that no algorithm can serve, or a period that is no time.
        """
        try:
            observation, action = (getattr(env, f"{what}_space", None) for what in ("observation", "action"))
        except Exception as error:  # of whoever wrote the environment
            text = f"{type(error).__name__}: {error}"
            raise UserError(f"{name_of(env)} has spaces that cannot be read ({text})") from error
        try:
            return Spaces(observations(observation), actions(action), _period(env))
        except UserError as error:
            raise UserError(f"{name_of(env)} has {error}") from None

    def check_observation(self, observation: Any) -> np.ndarray:
        """A copy of the observation, converted to the type of the observation space.

        Of a `Flattened` space, both the environment's own form and the vector are taken.

        Raises:
            UserError: for a wrong shape, NaN or infinity, or what is no array of numbers.
        """
        space = self.observation
        if isinstance(space, Flattened) and not _is_flat(observation, space):
            observation = space.convert(observation)
        try:
            given = np.asarray(observation)
            wraps = space.dtype == np.uint8 != given.dtype and not ((given >= 0) & (given < 256)).all()
            observation = np.array(given, space.dtype, order="C")
        except (TypeError, ValueError) as error:
            raise UserError(f"observation is no array of numbers ({error}): check the environment") from None
        if wraps:
            raise UserError("observation has values outside 0 to 255, its space is uint8: check both")
        if observation.shape != space.shape:
            raise UserError(
                f"observation has shape {observation.shape}, the policy was made for"
                f" {space.shape}: check env:= and the checkpoint"
            )
        if observation.dtype != np.uint8 and not np.isfinite(observation).all():
            bad = np.flatnonzero(~np.isfinite(observation.ravel()))
            raise UserError(f"observation value {bad[0]} is NaN or infinite: check the sensor or simulator")
        return observation

    def check_action(self, action: np.ndarray) -> np.ndarray:
        """The action, converted to the type and shape of the action space.

        Raises:
            UserError: for an action outside the space.
        """
        space = self.action
        action = np.asarray(action, space.dtype).reshape(space.shape)
        if isinstance(space, gym.spaces.Box):  # of every step; `contains` checks type and shape again
            inside = bool(((action >= space.low) & (action <= space.high)).all())
        else:
            inside = space.contains(action if action.ndim else action[()])
        if not inside:
            raise UserError(f"action {action} is outside {space}")
        return action

    def env_action(self, action: Any) -> Any:
        """The action in the environment's own form, if that is another one."""
        return self.action.convert(action) if isinstance(self.action, Combinations | Rounded) else action

    def to_json(self) -> str:
        """A JSON object; equal for equal spaces."""
        described = {"observation": _describe(self.observation), "action": _describe(self.action)}
        return json.dumps(described | {"period": round(self.period, 9)})

    @staticmethod
    def from_json(text: str) -> "Spaces":
        """Undo `to_json`."""
        described = json.loads(text)
        observation, action = (_space(described[what]) for what in ("observation", "action"))
        return Spaces(observations(observation), actions(action), described["period"])


def name_of(env: gym.Env) -> str:
    """Id of an environment, or the name of its class."""
    return env.spec.id if env.spec else type(env.unwrapped).__name__


def _period(env: gym.Env) -> float:
    """Control period in seconds: the environment's ``dt`` (a number or a method), else by ``render_fps``."""
    try:
        dt = getattr(env.unwrapped, "dt", None)
        dt = dt() if callable(dt) else dt
    except Exception as error:  # of whoever wrote the environment
        raise UserError(f"a dt that fails: {type(error).__name__}: {error}") from error
    fps = (getattr(env.unwrapped, "metadata", None) or {}).get("render_fps")
    for name, given, unit in (("dt", dt, "seconds"), ("render_fps", fps, "pictures a second")):
        if given is None:
            continue
        if not _is_time(given):
            raise UserError(f"{name} {given!r}, which gives no control period: set {unit} above 0")
        return float(given) if name == "dt" else 1 / float(given)
    return _USUAL_PERIOD


def _is_time(number: Any) -> bool:
    try:
        return not isinstance(number, str | bytes) and 0 < float(number) < math.inf
    except (TypeError, ValueError):
        return False


def _is_flat(observation: Any, space: Flattened) -> bool:
    return isinstance(observation, np.ndarray) and observation.shape == space.shape


# --- JSON ---

_KINDS: dict[str, type] = {
    "dict": gym_spaces.Dict,
    "tuple": gym_spaces.Tuple,
    "multi_discrete": gym_spaces.MultiDiscrete,
    "multi_binary": gym_spaces.MultiBinary,
    "discrete": gym_spaces.Discrete,
    "box": gym_spaces.Box,
}


def _space(described: dict[str, Any]) -> gym.Space:
    """Undo `_describe`; of a converted space, the environment's own."""
    d = described.get("source", described)
    match d["kind"]:
        case "dict":
            return gym_spaces.Dict({key: _space(part) for key, part in d["parts"]})
        case "tuple":
            return gym_spaces.Tuple([_space(part) for part in d["parts"]])
        case "discrete":
            return gym_spaces.Discrete(d["n"], start=d["start"])
        case "multi_discrete":
            return gym_spaces.MultiDiscrete(np.array(d["nvec"]), start=np.array(d["start"]))
        case "multi_binary":
            return gym_spaces.MultiBinary(d["shape"])
        case _:
            return _box(d)


def _box(described: dict[str, Any]) -> gym_spaces.Box:
    dtype = np.dtype(described["dtype"])
    if "low" not in described:
        return gym_spaces.Box(0, 255, tuple(described["shape"]), dtype)
    return gym_spaces.Box(np.array(described["low"], dtype), np.array(described["high"], dtype), dtype=dtype)


def _describe(space: gym.Space) -> dict[str, Any]:
    kind = next(kind for kind, of in _KINDS.items() if isinstance(space, of))
    described: dict[str, Any] = {"kind": kind}
    match space:
        case gym_spaces.Dict():
            described["parts"] = [
                [key, _describe(space.spaces[key])] for key in sorted(space.spaces, key=str)
            ]
        case gym_spaces.Tuple():
            described["parts"] = [_describe(part) for part in space.spaces]
        case gym_spaces.Discrete():
            described |= {"n": int(space.n), "start": int(space.start)}
        case gym_spaces.MultiDiscrete():
            described |= {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        case gym_spaces.MultiBinary():
            described["shape"] = list(space.shape)
        case gym_spaces.Box():
            described |= {"shape": list(space.shape), "dtype": str(space.dtype)}
            if space.dtype != np.uint8 or (space.low > 0).any() or (space.high < 255).any():
                described |= {"low": space.low.tolist(), "high": space.high.tolist()}
    if isinstance(space, Flattened | Combinations | Rounded):
        described["source"] = _describe(space.source)
    return described
