"""Pictures of a simulation: snapshots take next to no time, and another process can draw them."""

import os
from contextlib import suppress
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

HEIGHT, WIDTH = 240, 320  # of MuJoCo's pictures
if "DISPLAY" not in os.environ:  # else MuJoCo looks for one
    os.environ.setdefault("MUJOCO_GL", "egl")


class State(NamedTuple):
    """What a picture of MuJoCo depends on."""

    qpos: np.ndarray
    mocap_pos: np.ndarray
    mocap_quat: np.ndarray


class Camera:
    """What looks at an environment, in the process where that steps.

    Of MuJoCo it takes the state, for a `Painter` anywhere; others draw themselves, at once, if they can.

    Args:
        env: to be looked at.
    """

    def __init__(self, env: gym.Env):
        self._env = env.unwrapped
        self.model: Any = None  # of MuJoCo, if it is that
        self.name: str | int = -1  # of the camera to look through; -1: MuJoCo's own
        physics = getattr(getattr(self._env, "_env", None), "physics", None)  # of dm_control
        if physics is not None:
            self.model, self._data = physics.model.ptr, physics.data.ptr
        elif hasattr(self._env, "model") and hasattr(self._env, "data"):
            self.model, self._data = self._env.model, self._env.data
        if self.model is not None:
            cameras = [self.model.camera(k).name for k in range(self.model.ncam)]
            named = getattr(self._env, "camera_name", None)
            self.name = named if named in cameras else 0 if cameras else -1
        elif "rgb_array" in self._env.metadata.get("render_modes", ()):
            with suppress(AttributeError):  # classic control asks for it when it is made
                self._env.render_mode = "rgb_array"

    def snap(self) -> State | np.ndarray | None:
        """What there is to be seen now: for a painter, or drawn; None where there is nothing."""
        if self.model is not None:
            data = self._data
            return State(data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy())
        if getattr(self._env, "render_mode", None) != "rgb_array":
            return None
        try:
            return np.asarray(self._env.render())
        except gym.error.Error:  # what it draws with is not installed
            return None


class Painter:
    """Draws states of a model of MuJoCo.

    Args:
        model: as `Camera.model`.
        camera: as `Camera.name`.
    """

    def __init__(self, model: Any, camera: str | int):
        import mujoco

        self._mujoco, self._model, self._camera = mujoco, model, camera
        self._data = mujoco.MjData(model)
        self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)

    def draw(self, state: State) -> np.ndarray:
        """RGB ``[height, width, 3]``."""
        data = self._data
        data.qpos[:], data.mocap_pos[:], data.mocap_quat[:] = state
        self._mujoco.mj_kinematics(self._model, data)
        self._mujoco.mj_camlight(self._model, data)
        self._renderer.update_scene(data, self._camera)
        return self._renderer.render()

    def close(self) -> None:
        """Give the renderer back."""
        self._renderer.close()
