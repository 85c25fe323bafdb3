"""MinAtar (Young & Tian 2019): five Atari games on 10 x 10 cells.

Registered as ``minatar/GAME-v0``, with the minimal action set of each game.
"""

import gymnasium as gym
import numpy as np

GAMES = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
LONGEST_GAME = 5000  # frames; the games have no time limit


class MinAtar(gym.Env):
    """A game with sticky actions: in each frame the previous action is repeated with probability 0.1.

    | observation | value | min | max | unit |
    |---|---|---|---|---|
    | cells | 255 where there is an object of a kind, else 0 ``[10, 10, kinds]`` | 0 | 255 | 1 |

    Actions and rewards are those of the game (minimal action set).

    Args:
        game: one of `GAMES`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012, as Gymnasium declares it
    render_mode = "rgb_array"

    def __init__(self, game: str):
        from minatar import Environment  # imports seaborn, which takes a second

        name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in game)[1:]
        self._game = Environment(name)
        self._actions = self._game.minimal_action_set()
        self.action_space = gym.spaces.Discrete(len(self._actions))
        self.observation_space = gym.spaces.Box(0, 255, tuple(self._game.state_shape()), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start a game, determined by the seed."""
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(seed)
        self._game.last_action = 0  # sticky actions must not repeat an action of the previous game
        self._game.reset()
        return self._observation(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Run one frame."""
        reward, over = self._game.act(self._actions[action])
        return self._observation(), float(reward), bool(over), False, {}

    def render(self) -> np.ndarray:
        """The cells in colours, RGB ``[100, 100, 3]``."""
        from matplotlib import colormaps

        seen = self._game.state()
        top = (seen * np.arange(1, seen.shape[-1] + 1)).max(-1) / seen.shape[-1]
        cells = (colormaps["cubehelix"](top)[..., :3] * 255).astype(np.uint8)
        return cells.repeat(10, 0).repeat(10, 1)

    def _observation(self) -> np.ndarray:
        return self._game.state().astype(np.uint8) * 255
