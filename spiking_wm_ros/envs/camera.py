"""Pictures of a simulation: snapshots take next to no time, drawing them is for another thread."""

import os
from collections.abc import Callable
from contextlib import suppress

import gymnasium as gym
import numpy as np

HEIGHT, WIDTH = 240, 320  # of MuJoCo's pictures
if "DISPLAY" not in os.environ:  # else MuJoCo looks for one
    os.environ.setdefault("MUJOCO_GL", "egl")

Draw = Callable[[], np.ndarray]  # gives RGB [height, width, 3]


class Camera:
    """What looks at an environment; `snap` where the environment steps, what it gives in one other thread.

    MuJoCo's state is copied and drawn from the copy; others draw themselves, at once, if they can.

    Args:
        env: to be looked at.
    """

    def __init__(self, env: gym.Env):
        self._env = env.unwrapped
        physics = getattr(getattr(self._env, "_env", None), "physics", None)  # of dm_control
        self._mujoco = _MuJoCo(*_simulation(self._env, physics)) if _simulation(self._env, physics) else None
        if self._mujoco is None and "rgb_array" in self._env.metadata.get("render_modes", ()):
            with suppress(AttributeError):  # classic control asks for it when it is made
                self._env.render_mode = "rgb_array"

    def snap(self) -> Draw | None:
        """A picture of now, to be drawn; None where there is nothing to be seen."""
        if self._mujoco:
            return self._mujoco.snap()
        if getattr(self._env, "render_mode", None) != "rgb_array":
            return None
        try:
            picture = self._env.render()
        except gym.error.Error:  # what it draws with is not installed
            return None
        return lambda: np.asarray(picture)

    def close(self) -> None:
        """Give the renderer back; in the thread that drew."""
        if self._mujoco:
            self._mujoco.close()


def _simulation(env: gym.Env, physics) -> tuple | None:
    """Model and data of MuJoCo, and the camera's name or number."""
    if physics is not None:
        return physics.model.ptr, physics.data.ptr, 0
    if hasattr(env, "model") and hasattr(env, "data"):
        return env.model, env.data, getattr(env, "camera_name", None)
    return None


class _MuJoCo:
    def __init__(self, model, data, camera: str | int | None):
        import mujoco

        self._mujoco, self._model, self._data = mujoco, model, data
        self._copy, self._renderer = mujoco.MjData(model), None
        names = [model.camera(k).name for k in range(model.ncam)]
        if camera in names:
            self._camera = camera
        else:  # the model's first, else MuJoCo's own
            self._camera = 0 if names else -1

    def snap(self) -> Draw:
        data = self._data
        state = data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy()
        return lambda: self._draw(*state)

    def _draw(self, qpos: np.ndarray, mocap_pos: np.ndarray, mocap_quat: np.ndarray) -> np.ndarray:
        if self._renderer is None:
            self._renderer = self._mujoco.Renderer(self._model, HEIGHT, WIDTH)
        copy = self._copy
        copy.qpos[:], copy.mocap_pos[:], copy.mocap_quat[:] = qpos, mocap_pos, mocap_quat
        self._mujoco.mj_kinematics(self._model, copy)
        self._mujoco.mj_camlight(self._model, copy)
        self._renderer.update_scene(copy, self._camera)
        return self._renderer.render()

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
