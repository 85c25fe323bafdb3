"""Pictures of a simulation: fast snapshots of its state, which another process can draw."""

import os
from contextlib import suppress
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from spiking_wm.core.game_loop import told
from spiking_wm.core.spaces import name_of

HEIGHT, WIDTH = 240, 320  # of MuJoCo's pictures
if "DISPLAY" not in os.environ:  # MuJoCo's default needs a display
    os.environ.setdefault("MUJOCO_GL", "egl")


class State(NamedTuple):
    """The part of a MuJoCo state that is needed for a picture."""

    qpos: np.ndarray
    mocap_pos: np.ndarray
    mocap_quat: np.ndarray


class Camera:
    """Takes snapshots of an environment, in the process that steps it.

    A snapshot of a MuJoCo environment is a `State`, which a `Painter` draws in any process. Other
    environments draw their picture at once, if they support ``rgb_array``. An environment that fails to draw
    is not asked again; ``failure`` then holds the reason.

    Args:
        env: the environment.
    """

    def __init__(self, env: gym.Env):
        self._env: Any = env.unwrapped
        self.model: Any = None  # MuJoCo's model; None for other environments
        self.name: str | int = -1  # camera of the model; -1: MuJoCo's free camera
        self.failure = ""
        try:
            self._look()
        except (Exception, SystemExit) as error:  # of whoever wrote the environment
            self._fail(error)

    def _look(self) -> None:
        physics = getattr(getattr(self._env, "_env", None), "physics", None)  # of dm_control
        if physics is not None:
            self.model, self._data = physics.model.ptr, physics.data.ptr
        elif _of_mujoco(getattr(self._env, "model", None)) and hasattr(self._env, "data"):
            self.model, self._data = self._env.model, self._env.data
        if self.model is not None:
            cameras = [self.model.camera(k).name for k in range(self.model.ncam)]
            named = getattr(self._env, "camera_name", None)
            self.name = str(named) if named in cameras else 0 if cameras else -1
        elif "rgb_array" in (self._env.metadata or {}).get("render_modes", ()):
            with suppress(AttributeError):  # a read-only property in some environments
                self._env.render_mode = "rgb_array"

    def snap(self) -> State | np.ndarray | None:
        """The state for a painter, or an RGB picture; None if the environment cannot be drawn."""
        if self.failure:
            return None
        if self.model is not None:
            data = self._data
            return State(data.qpos.copy(), data.mocap_pos.copy(), data.mocap_quat.copy())
        if getattr(self._env, "render_mode", None) != "rgb_array":
            return None
        try:
            picture = np.asarray(self._env.render())
            if picture.dtype != np.uint8 or picture.shape[2:] not in ((), (3,)) or picture.ndim < 2:
                raise TypeError(f"render() gives {picture.dtype} {picture.shape}, no picture of bytes")
            return picture.copy()
        except gym.error.Error:  # its rendering package is not installed
            return None
        except (Exception, SystemExit) as error:
            self._fail(error)
            return None

    def _fail(self, error: BaseException) -> None:
        self.model, self.failure = None, f"{name_of(self._env)} cannot be drawn: {told(error)}"


def _of_mujoco(model: Any) -> bool:
    return type(model).__module__.partition(".")[0] == "mujoco"


class Painter:
    """Draws states of a MuJoCo model. Call `close` after use; else EGL raises errors when the process ends.

    Args:
        model: `Camera.model`.
        camera: `Camera.name`.
    """

    def __init__(self, model: Any, camera: str | int):
        import mujoco

        self._mujoco, self._model, self._camera = mujoco, model, camera
        self._data = mujoco.MjData(model)
        self._renderer = mujoco.Renderer(model, HEIGHT, WIDTH)

    def draw(self, state: State) -> np.ndarray:
        """Draw a state, RGB ``[240, 320, 3]``."""
        data = self._data
        data.qpos[:], data.mocap_pos[:], data.mocap_quat[:] = state
        self._mujoco.mj_kinematics(self._model, data)
        self._mujoco.mj_camlight(self._model, data)
        self._renderer.update_scene(data, self._camera)
        return self._renderer.render()

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()
