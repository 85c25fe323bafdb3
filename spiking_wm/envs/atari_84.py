"""Atari games with the preprocessing of deep Q-networks (Mnih et al. 2015): four grey pictures of 84 x 84.

Registered as ``atari/GAME-v0`` for every game of the console, and as ``atari/GAME-sticky-v0`` with sticky
actions: in each frame the previous action is repeated with probability 0.25 (Machado et al. 2018).
"""

from typing import Any

import ale_py
import cv2  # noqa: F401, needed by Gymnasium's preprocessing; if missing, the error names our extra
import gymnasium as gym
import numpy as np
from ale_py import LoggerMode
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

FRAMES = 4  # of the console per step; also pictures per observation
_SIDE = 84  # pixels of a picture, the default of `AtariPreprocessing`
_FIRE = "FIRE"


class Atari84(gym.Wrapper):
    """An Atari game.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | picture | grey pictures of the last four steps, newest last ``[84, 84, 4]`` | 0 | 255 | 1 |

    The picture of a step is the pixel-wise maximum of its last two frames. An episode begins with 1 to 30
    frames without an action; their number is drawn from the seed of `reset`. If a life begins with the fire
    button, the button is pressed. Rewards are the points of the game, not clipped. ``info["life_lost"]`` is
    True when a life is lost and the game continues.

    Args:
        game: name in Gymnasium, as ``Breakout``.
        sticky: probability that the previous action is repeated in a frame.
    """

    def __init__(self, game: str, sticky: float = 0.0):
        ale_py.ALEInterface.setLoggerMode(LoggerMode.Error)
        gym.register_envs(ale_py)
        console = gym.make(
            f"ALE/{game}-v5", frameskip=1, repeat_action_probability=sticky, render_mode="rgb_array"
        )
        super().__init__(FrameStackObservation(AtariPreprocessing(console), FRAMES))
        self.observation_space = gym.spaces.Box(0, 255, (_SIDE, _SIDE, FRAMES), np.uint8)
        game_itself: Any = console.unwrapped  # ale_py's AtariEnv
        meanings = game_itself.get_action_meanings()
        self._fire = meanings.index(_FIRE) if _FIRE in meanings else None
        self._lives = 0

    def close(self) -> None:
        """Free the emulator; else nanobind reports a leak when the process ends."""
        super().close()
        game_itself: Any = self.unwrapped
        game_itself.ale = None

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start a game."""
        pictures, info = self.env.reset(seed=seed, options=options)
        if self._fire is not None:
            pictures, *_ = self.env.step(self._fire)
        self._lives = info["lives"]
        return self._observation(pictures), info

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Run four frames, and four more with the fire button if a life was lost."""
        pictures, reward, terminated, truncated, info = self.env.step(action)
        life_lost = info["lives"] < self._lives and not terminated
        if life_lost and self._fire is not None:
            pictures, more, terminated, truncated, info = self.env.step(self._fire)
            reward = float(reward) + float(more)
        self._lives = info["lives"]
        return (
            self._observation(pictures),
            float(reward),
            terminated,
            truncated,
            info | {"life_lost": life_lost},
        )

    @staticmethod
    def _observation(pictures: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.moveaxis(pictures, 0, -1))
