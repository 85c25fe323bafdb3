"""Tasks of the DeepMind Control suite (Tassa et al. 2018), observed by vectors or pictures.

Registered as ``dm_control/DOMAIN-TASK-v0`` (vectors) and ``dm_control/DOMAIN-TASK-pixels-v0`` (pictures).
"""

import os
import sys
from typing import Any

import gymnasium as gym
import numpy as np

from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import told
from spiking_wm.envs.mujoco_warnings import without_known_warnings

if "DISPLAY" not in os.environ:  # MuJoCo's default needs a display
    os.environ.setdefault("MUJOCO_GL", "egl")

# the benchmark tasks of the suite; listed here because importing the suite takes seconds
TASKS = (
    "acrobot-swingup",
    "ball_in_cup-catch",
    "cartpole-balance",
    "cartpole-balance_sparse",
    "cartpole-swingup",
    "cartpole-swingup_sparse",
    "cheetah-run",
    "finger-spin",
    "finger-turn_easy",
    "finger-turn_hard",
    "hopper-hop",
    "hopper-stand",
    "humanoid-run",
    "humanoid-stand",
    "humanoid-walk",
    "manipulator-bring_ball",
    "pendulum-swingup",
    "point_mass-easy",
    "quadruped-run",
    "quadruped-walk",
    "reacher-easy",
    "reacher-hard",
    "swimmer-swimmer6",
    "swimmer-swimmer15",
    "walker-run",
    "walker-stand",
    "walker-walk",
)
_SIDE = 64  # pixels of a picture
# control steps per step, by domain (else 2): as in PlaNet (Hafner et al. 2019), except 4 for 8 of cartpole
_REPEATS = {"ball_in_cup": 4, "cartpole": 4, "cheetah": 4, "reacher": 4}


def _suite(pictures: bool) -> Any:
    """Import the suite; if there is no OpenGL, without its renderer, unless pictures are needed.

    Raises:
        UserError: if pictures are needed, and there is no OpenGL.
    """
    try:
        from dm_control import suite
    except ModuleNotFoundError:
        raise
    except Exception as error:  # of the OpenGL library; its type differs
        if pictures:
            raise UserError(
                f"pictures need OpenGL, which MUJOCO_GL={os.environ.get('MUJOCO_GL', '')} does not give"
                f" ({told(error)}): install it (apt install libegl1), or set MUJOCO_GL=osmesa"
            ) from error
        for name in [name for name in sys.modules if name.partition(".")[0] == "dm_control"]:
            del sys.modules[name]  # what was imported in part
        os.environ["MUJOCO_GL"] = "disable"
        from dm_control import suite
    return suite


class DMControl(gym.Env):
    """A task. Each step repeats its action. Episodes end by time, in a few tasks also by failure.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | vector | all observations of the task, concatenated in its order | -Inf | Inf | of the task |
    | picture | camera 0, RGB ``[64, 64, 3]`` | 0 | 255 | 1 |

    Actions are those of the task (bounded). The reward of a step is the sum over its control steps, 0 to 1
    each.

    Args:
        task: one of `TASKS`.
        pixels: observe pictures instead of vectors.
        action_repeat: control steps per step; None: the usual number for the task.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012, as Gymnasium declares it
    render_mode = "rgb_array"

    def __init__(self, task: str, pixels: bool = False, action_repeat: int | None = None):
        suite = _suite(pixels)
        domain, _, name = task.partition("-")
        with without_known_warnings():
            self._env, self._pixels = suite.load(domain, name), pixels
        self._repeat = action_repeat or _REPEATS.get(domain, 2)
        self.dt = self._env.control_timestep() * self._repeat
        self.metadata = self.metadata | {"render_fps": round(1 / self.dt)}
        bounds = self._env.action_spec()
        low, high = (np.broadcast_to(x, bounds.shape) for x in (bounds.minimum, bounds.maximum))
        self.action_space = gym.spaces.Box(low.astype(np.float32), high.astype(np.float32))
        if pixels:
            self.observation_space = gym.spaces.Box(0, 255, (_SIDE, _SIDE, 3), np.uint8)
        else:
            width = sum(int(np.prod(spec.shape)) for spec in self._env.observation_spec().values())
            self.observation_space = gym.spaces.Box(-np.inf, np.inf, (width,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode, determined by the seed."""
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(seed)
        return self._observation(self._env.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Repeat an action for ``action_repeat`` control steps."""
        reward = 0.0
        for _ in range(self._repeat):
            step = self._env.step(action)
            reward += step.reward or 0.0
            if step.last():
                break
        failed = step.last() and step.discount == 0
        return self._observation(step.observation), reward, failed, step.last() and not failed, {}

    def render(self) -> np.ndarray:
        """Camera 0, RGB ``[240, 320, 3]``."""
        return self._env.physics.render(240, 320, camera_id=0)

    def close(self) -> None:
        """Free the simulator."""
        self._env.close()

    def _observation(self, observed: dict[str, np.ndarray]) -> np.ndarray:
        if self._pixels:
            return self._env.physics.render(_SIDE, _SIDE, camera_id=0)
        return np.concatenate([np.ravel(value) for value in observed.values()]).astype(np.float32)
