"""Atari games of 100 steps, as Capone & Paolucci play them: few variables in, three actions out.

One step is four frames of the Arcade Learning Environment; in each frame the last action goes on with
probability 0.25 instead of the chosen one (sticky actions, Machado et al. 2018). An episode begins
with steps of doing nothing, which are counted as steps of the environment like all others.
"""

from typing import ClassVar

import gymnasium as gym
import numpy as np
from ale_py import Action, ALEInterface, LoggerMode, roms

_FRAMES, _STICKY, _NOOPS = 4, 0.25, 21
_PROJECTIONS = 4
_BYTES = (49, 50, 51, 54)  # ball x, opponent's paddle, own paddle, ball y


class PongRam(gym.Env):
    """Pong by four bytes of the console's memory.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | 0 | x of the ball | 0 | 1 | 255 memory units |
    | 1 | y of the opponent's paddle | 0 | 1 | 255 memory units |
    | 2 | y of the own paddle | 0 | 1 | 255 memory units |
    | 3 | y of the ball | 0 | 1 | 255 memory units |

    | action | what it does |
    |---|---|
    | 0 | nothing |
    | 1 | up |
    | 2 | down |

    The reward is 1 for a point won, -1 for a point lost. The state at the first observation is always
    the same; only sticky actions are random, by the seed of `reset`. ``environment_steps`` counts every
    step ever made, the ``steps_before_a_game`` included.

    Registered as ``PongRam-v0`` with 100 steps an episode (`gymnasium.make` cuts it off).
    """

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 15}
    render_mode = "rgb_array"
    steps_before_a_game = _NOOPS
    actions = (Action.NOOP, Action.RIGHT, Action.LEFT)

    def __init__(self):
        ALEInterface.setLoggerMode(LoggerMode.Error)
        self._console = ALEInterface()
        self._console.setInt("frame_skip", 1)
        self._console.setFloat("repeat_action_probability", 0.0)  # here, so that it follows the seed
        self._console.loadROM(roms.get_rom_path("pong"))
        self.observation_space = gym.spaces.Box(0, 1, (len(_BYTES),), np.float32)
        self.action_space = gym.spaces.Discrete(len(self.actions))
        for _ in range(_NOOPS * _FRAMES):
            self._console.act(Action.NOOP)
        self._start = self._console.cloneState()
        self.environment_steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin a game, after the steps in which nothing is done."""
        super().reset(seed=seed)
        self._console.restoreState(self._start)  # where those steps always lead
        self.environment_steps += _NOOPS
        self._last = Action.NOOP
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Act for four frames."""
        reward = 0
        for sticky in self.np_random.random(_FRAMES) < _STICKY:
            self._last = self._last if sticky else self.actions[action]
            reward += self._console.act(self._last)
        self.environment_steps += 1
        return self._observation(), float(reward), self._console.game_over(), False, {}

    def render(self) -> np.ndarray:
        """The present frame, RGB ``[210, 160, 3]``."""
        return self._console.getScreenRGB()

    def _observation(self) -> np.ndarray:
        return self._console.getRAM()[list(_BYTES)] / np.float32(255)


class PongPixels(PongRam):
    """Pong by four random projections of the screen.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | 0-3 | brightness of all 210 x 160 pixels (0 to 1), weighted by N(0, 0.1) | -Inf | Inf | 1 |

    The weights are always the same. Actions, rewards and episodes are those of `PongRam`.

    Registered as ``PongPixels-v0`` with 100 steps an episode.
    """

    def __init__(self):
        super().__init__()
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (_PROJECTIONS,), np.float32)
        pixels = np.random.default_rng(0).normal(0, 0.1**0.5, (_PROJECTIONS, 210 * 160))
        self._projection = (pixels / 255).astype(np.float32)

    def _observation(self) -> np.ndarray:
        return self._projection @ self._console.getScreenGrayscale().reshape(-1)
