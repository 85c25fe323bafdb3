"""Atari games of 100 steps with low-dimensional observations (Capone & Paolucci).

A step is four frames of the Arcade Learning Environment. In each frame, with probability 0.25, the previous
action is repeated instead of the chosen one (sticky actions, Machado et al. 2018). An episode begins with
steps without an action (no-op), which count as environment steps.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from ale_py import Action, ALEInterface, LoggerMode, roms

from spiking_wm.core.errors import UserError
from spiking_wm.envs.autoencoder import CODE, auto_encoder

_FRAMES, _STICKY = 4, 0.25
_PROJECTIONS = 4
_BYTES = np.array([49, 50, 51, 54])  # ball x, opponent's paddle, own paddle, ball y
HEIGHT, WIDTH = 210, 160  # of the screen, pixels


class AtariGame(gym.Env, ABC):
    """A game; subclasses define the observation.

    ``environment_steps`` counts all steps since the environment was made, `steps_before_a_game` included.

    Args:
        rom: name of the game in ale_py.
        space: observation space.
        actions: actions of the console, one per discrete action.
        steps_before_a_game: steps without an action at the start of an episode.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012, as Gymnasium declares it
    render_mode = "rgb_array"

    def __init__(
        self, rom: str, space: gym.spaces.Box, actions: Sequence[Action], steps_before_a_game: int = 0
    ):
        path = roms.get_rom_path(rom)
        if path is None:
            raise UserError(f"ale_py has no game '{rom}'")
        ALEInterface.setLoggerMode(LoggerMode.Error)
        self._console: Any = ALEInterface()  # None once closed
        self._console.setInt("frame_skip", 1)
        # sticky actions are drawn in `step`, from the seeded generator
        self._console.setFloat("repeat_action_probability", 0.0)
        self._console.loadROM(path)
        self.observation_space, self.action_space = space, gym.spaces.Discrete(len(actions))
        self._actions, self.steps_before_a_game = actions, steps_before_a_game
        for _ in range(steps_before_a_game * _FRAMES - 1):
            self._console.act(Action.NOOP)
        self._start: Any = self._console.cloneState()
        self.environment_steps = 0

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode, after the steps without an action."""
        super().reset(seed=seed)
        self._console.restoreState(self._start)  # the state after those steps, except for the last frame,
        self._console.act(Action.NOOP)  # which draws the screen
        self.environment_steps += self.steps_before_a_game
        self._last = Action.NOOP
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Run four frames."""
        reward = 0
        for sticky in (self.np_random.random(_FRAMES) < _STICKY).tolist():
            if not sticky:
                self._last = self._actions[int(action)]
            reward += self._console.act(self._last)
        self.environment_steps += 1
        return self._observation(), float(reward), self._console.game_over(), False, {}

    def render(self) -> np.ndarray:
        """The current frame, RGB ``[210, 160, 3]``."""
        return self._console.getScreenRGB()

    def grey(self) -> np.ndarray:
        """The current frame in grey, uint8 ``[210, 160]``."""
        return self._console.getScreenGrayscale()

    def close(self) -> None:
        """Free the emulator; else nanobind reports a leak when the process ends."""
        self._console = self._start = None

    @abstractmethod
    def _observation(self) -> np.ndarray:
        """Observation of the current frame."""


class PongRam(AtariGame):
    """Pong, observed by four bytes of the console's memory.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | 0 | x of the ball | 0 | 1 | 255 memory units |
    | 1 | y of the opponent's paddle | 0 | 1 | 255 memory units |
    | 2 | y of the own paddle | 0 | 1 | 255 memory units |
    | 3 | y of the ball | 0 | 1 | 255 memory units |

    | action | effect |
    |---|---|
    | 0 | none |
    | 1 | up |
    | 2 | down |

    The reward is 1 for a point won and -1 for a point lost. Every episode starts in the same state; only
    sticky actions are random, from the seed of `reset`.

    Registered as ``PongRam-v0``; `gymnasium.make` truncates an episode after 100 steps.
    """

    def __init__(self, space: gym.spaces.Box | None = None):
        space = space or gym.spaces.Box(0, 1, (len(_BYTES),), np.float32)
        super().__init__("pong", space, (Action.NOOP, Action.RIGHT, Action.LEFT), steps_before_a_game=21)

    def picture(self, observation: np.ndarray) -> np.ndarray:
        """Draw the screen from an observation, RGB ``[210, 160, 3]``."""
        screen = np.full((HEIGHT, WIDTH, 3), (144, 72, 26), np.uint8)
        screen[:34], screen[194:] = 236, 236
        ball_x, opponent, own, ball_y = (np.asarray(observation) * 255).round().astype(int)
        shapes = ((16, opponent - 15, 4, 16, (213, 130, 74)), (140, own - 13, 4, 16, (92, 186, 92)))
        for x, y, width, height, colour in (*shapes, (ball_x - 49, ball_y - 14, 2, 4, (236, 236, 236))):
            screen[max(y, 34) : max(min(y + height, 194), 34), max(x, 0) : max(x + width, 0)] = colour
        return screen

    def _observation(self) -> np.ndarray:
        return self._console.getRAM()[_BYTES] / np.float32(255)


class PongPixels(PongRam):
    """Pong, observed by four random projections of the screen.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | 0-3 | brightness of all 210 x 160 pixels (0 to 1), weighted by N(0, 0.1) | -Inf | Inf | 1 |

    The weights are always the same. Actions, rewards and episodes are those of `PongRam`.

    Registered as ``PongPixels-v0`` with 100 steps per episode.
    """

    picture = None  # type: ignore[assignment] # a projection cannot be inverted; callers test for None

    def __init__(self) -> None:
        super().__init__(gym.spaces.Box(-np.inf, np.inf, (_PROJECTIONS,), np.float32))
        pixels = np.random.default_rng(0).normal(0, 0.1**0.5, (_PROJECTIONS, HEIGHT * WIDTH))
        self._projection = (pixels / 255).astype(np.float32)

    def _observation(self) -> np.ndarray:
        return self._projection @ self.grey().reshape(-1)


class BoxingPixels(AtariGame):
    """Boxing, observed by the code of the screen in an auto-encoder.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | 0-35 | code of the screen by the auto-encoder of `spiking_wm.envs.autoencoder` | -Inf | Inf | 1 |

    The auto-encoder is trained once, on 10,000 frames of random play, and stored in the user's cache. These
    frames do not count as ``environment_steps``. All 18 actions of the console are available. The reward is
    the points of the player minus those of the opponent.

    Registered as ``BoxingPixels-v0`` with 100 steps per episode.
    """

    def __init__(self) -> None:
        space = gym.spaces.Box(-np.inf, np.inf, (CODE,), np.float32)
        super().__init__("boxing", space, [Action(number) for number in range(18)])
        self._encoder = auto_encoder("boxing", self._random_frames)

    def picture(self, observation: np.ndarray) -> np.ndarray:
        """Draw the screen from an observation, RGB ``[210, 160, 3]``."""
        return np.repeat(self._encoder.decode(observation)[..., None], 3, -1)

    def _observation(self) -> np.ndarray:
        return self._encoder.encode(self.grey())

    def _random_frames(self, count: int) -> np.ndarray:
        """Frames ``[count, 210, 160]`` of games of 100 steps with random actions."""
        rng, frames = np.random.default_rng(0), np.empty((count, HEIGHT, WIDTH), np.uint8)
        for at in range(count):
            if at % 100 == 0:
                self._console.restoreState(self._start)
            action = self._actions[int(rng.integers(len(self._actions)))]
            for _ in range(_FRAMES):
                self._console.act(action)
            frames[at] = self.grey()
        self._console.restoreState(self._start)
        return frames
