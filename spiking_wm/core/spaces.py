"""Observation space, action space and control period: checks, and conversion to JSON."""

import json
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces as gym_spaces

from spiking_wm.core.errors import UserError


class Spaces(NamedTuple):
    """Observation and action space of an environment, and the time between two actions in seconds.

    Vector observations are converted to float32; pixels stay uint8.
    """

    observation: gym_spaces.Box
    action: gym_spaces.Box | gym_spaces.Discrete
    period: float

    @staticmethod
    def of(env: gym.Env) -> "Spaces":
        """The spaces of a Gymnasium environment; its period is 0.02 s if it does not give one.

        Raises:
            UserError: for an observation space other than Box, or an action space other than Box or Discrete.
        """
        observation, action = (getattr(env, f"{what}_space", None) for what in ("observation", "action"))
        name = env.spec.id if env.spec else type(env.unwrapped).__name__
        if not isinstance(observation, gym_spaces.Box):
            raise UserError(f"{name} has observations {observation}; wrap it to give one array (Box)")
        if not isinstance(action, gym_spaces.Box | gym_spaces.Discrete):
            raise UserError(f"{name} has actions {action}; wrap it to take Box or Discrete")
        if observation.dtype != np.uint8:
            observation = gym_spaces.Box(
                observation.low.astype(np.float32), observation.high.astype(np.float32), dtype=np.float32
            )
        fps = env.unwrapped.metadata.get("render_fps")
        period = getattr(env.unwrapped, "dt", None) or (1 / fps if fps else 0.02)
        return Spaces(observation, action, float(period))

    def check_observation(self, observation: np.ndarray) -> np.ndarray:
        """The observation, converted to the type of the observation space.

        Raises:
            UserError: for a wrong shape, NaN or infinity, or what is no array of numbers.
        """
        try:
            observation = np.asarray(observation, self.observation.dtype)
        except (TypeError, ValueError) as error:
            raise UserError(f"observation is no array of numbers ({error}): check the environment") from None
        if observation.shape != self.observation.shape:
            raise UserError(
                f"observation has shape {observation.shape}, the policy was made for"
                f" {self.observation.shape}: check env:= and the checkpoint"
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
        action = np.asarray(action, self.action.dtype).reshape(self.action.shape)
        if not self.action.contains(action if action.ndim else action[()]):
            raise UserError(f"action {action} is outside {self.action}")
        return action

    def to_json(self) -> str:
        """A JSON object; equal for equal spaces."""
        described = {"observation": _describe(self.observation), "action": _describe(self.action)}
        return json.dumps(described | {"period": round(self.period, 9)})

    @staticmethod
    def from_json(text: str) -> "Spaces":
        """Undo `to_json`."""
        described = json.loads(text)
        action = described["action"]
        discrete = action["kind"] == "discrete"
        return Spaces(
            _box(described["observation"]),
            gym_spaces.Discrete(action["n"], start=action["start"]) if discrete else _box(action),
            described["period"],
        )


def _box(described: dict[str, Any]) -> gym_spaces.Box:
    dtype = np.dtype(described["dtype"])
    if dtype == np.uint8:
        return gym_spaces.Box(0, 255, tuple(described["shape"]), dtype)
    return gym_spaces.Box(np.array(described["low"], dtype), np.array(described["high"], dtype), dtype=dtype)


def _describe(space: gym_spaces.Box | gym_spaces.Discrete) -> dict[str, Any]:
    if isinstance(space, gym_spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n), "start": int(space.start)}
    box: dict[str, Any] = {"kind": "box", "shape": list(space.shape), "dtype": str(space.dtype)}
    if space.dtype != np.uint8:
        box |= {"low": space.low.tolist(), "high": space.high.tolist()}
    return box
