"""Tasks of the DeepMind Control suite (Tassa et al. 2018), by vectors or by pictures.

Registered as ``dm_control/DOMAIN-TASK-v0``, and with pictures as ``dm_control/DOMAIN-TASK-pixels-v0``.
"""

import os
from typing import ClassVar

import gymnasium as gym
import numpy as np

if "DISPLAY" not in os.environ:  # else MuJoCo looks for one
    os.environ.setdefault("MUJOCO_GL", "egl")

# the suite's benchmark; loading it to ask would take seconds
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
_SIDE = 64  # of pictures, pixels
# control steps in a step, else 2: as in PlaNet (Hafner et al. 2019), but for its 8 of the cartpole
_REPEATS = {"ball_in_cup": 4, "cartpole": 4, "cheetah": 4, "reacher": 4}


class DMControl(gym.Env):
    """A task; each step repeats its action, and an episode ends by time alone (a few tasks can fail).

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | vector | all that the task observes, one after the other in its order | -Inf | Inf | the task's |
    | picture | camera 0, RGB ``[64, 64, 3]`` | 0 | 255 | 1 |

    Actions are the task's own, bounded; the reward of a step is the sum of its control steps' (0 to 1 each).

    Args:
        task: as in `TASKS`.
        pixels: pictures are observed instead of vectors.
        action_repeat: control steps in a step; None: as is usual for the task.
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, task: str, pixels: bool = False, action_repeat: int | None = None):
        from dm_control import suite

        domain, _, name = task.partition("-")
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
        """Begin an episode; the same one for the same seed."""
        super().reset(seed=seed)
        if seed is not None:
            self._env.task.random.seed(seed)
        return self._observation(self._env.reset().observation), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Act for some control steps."""
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
        """Give the simulator back."""
        self._env.close()

    def _observation(self, observed: dict[str, np.ndarray]) -> np.ndarray:
        if self._pixels:
            return self._env.physics.render(_SIDE, _SIDE, camera_id=0)
        return np.concatenate([np.ravel(value) for value in observed.values()]).astype(np.float32)
