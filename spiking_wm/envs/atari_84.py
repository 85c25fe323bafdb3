"""Atari as deep Q-networks play it (Mnih et al. 2015): grey pictures of 84 x 84, four of them at once.

Registered as ``atari/GAME-v0`` for every game of the console, and ``atari/GAME-sticky-v0`` where in each
frame the last action goes on with probability 0.25 (Machado et al. 2018).
"""

import ale_py
import gymnasium as gym
import numpy as np
from ale_py import LoggerMode
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

FRAMES = 4  # of the console in a step, and seen of them
LONGEST_GAME = 18_000  # steps
_STICKY = 0.25
_FIRE = "FIRE"


class Atari84(gym.Wrapper):
    """A game of the console.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | picture | those of the last four steps, the newest last ``[84, 84, 4]`` | 0 | 255 | 1 |

    A step's picture is the brighter of its last two frames. A game begins with 1 to 30 frames in which
    nothing is done, by the seed of `reset`. Where lives begin with a press of the fire button, it is pressed.
    Rewards are the game's points, not clipped. Where a life is lost though the game goes on,
    ``info["life_lost"]`` says so.

    Args:
        game: as Gymnasium names it, ``Breakout``.
        sticky: probability that the last action goes on.
    """

    def __init__(self, game: str, sticky: float = 0.0):
        ale_py.ALEInterface.setLoggerMode(LoggerMode.Error)
        gym.register_envs(ale_py)
        console = gym.make(
            f"ALE/{game}-v5", frameskip=1, repeat_action_probability=sticky, render_mode="rgb_array"
        )
        super().__init__(FrameStackObservation(AtariPreprocessing(console), FRAMES))
        side = self.env.observation_space.shape[1]
        self.observation_space = gym.spaces.Box(0, 255, (side, side, FRAMES), np.uint8)
        meanings = console.unwrapped.get_action_meanings()
        self._fire = meanings.index(_FIRE) if _FIRE in meanings else None
        self._lives = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin a game."""
        pictures, info = self.env.reset(seed=seed, options=options)
        if self._fire is not None:
            pictures, *_ = self.env.step(self._fire)
        self._lives = info["lives"]
        return self._observation(pictures), info

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Act for four frames, and for four more in which a new life is begun."""
        pictures, reward, terminated, truncated, info = self.env.step(action)
        life_lost = info["lives"] < self._lives and not terminated
        if life_lost and self._fire is not None:
            pictures, more, terminated, truncated, info = self.env.step(self._fire)
            reward += more
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
