"""Environments that do what is rare or wrong. Their ids are ``test.environments:CaseNAME-v0``.

Each docstring says what is right.
"""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple


class Case(gym.Env):
    """Three random values, one action, episodes of 25 steps."""

    observation_space = Box(-1, 1, (3,), np.float32)
    action_space = Box(-1, 1, (1,), np.float32)
    steps = 25

    def observe(self):
        return self.np_random.uniform(-1, 1, 3).astype(np.float32)

    def reward(self):
        return 1.0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.t += 1
        return self.observe(), self.reward(), False, bool(self.steps) and self.t >= self.steps, {}


class ReusedBuffer(Case):
    """Observations are copied."""

    def reset(self, *, seed=None, options=None):
        self.buffer = np.zeros(3, np.float32)
        return super().reset(seed=seed)

    def observe(self):
        self.buffer[:] = super().observe()
        return self.buffer


class Late(Case):
    """Rewards are wrong, from the 15th step of the third episode on, after a checkpoint."""

    wrong: object = 1.0
    episodes = 0

    def reset(self, *, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed=seed)

    @property
    def late(self):
        return self.episodes == 3 and self.t == 15

    def reward(self):
        return self.wrong if self.late else 1.0


class NanReward(Late):
    wrong = float("nan")


class InfiniteReward(Late):
    wrong = np.float64(np.inf)


class NoneReward(Late):
    wrong = None


class TextReward(Late):
    wrong = "1.0"


class WideReward(Late):
    wrong = np.ones(2)


class ArrayReward(Case):
    """One number in an array is a number."""

    def reward(self):
        return [np.array([0.5]), np.float64(0.5), np.array(1), 1, np.array([[0.5]]), True][self.t % 6]


class NoLimit(Case):
    """Evaluations are bounded, with a warning."""

    steps = 0


class DoubleBounds(Case):
    """Float32 actions are within bounds of double precision."""

    action_space = Box(np.array([-0.1, -np.pi]), np.array([0.1, np.pi]), dtype=np.float64)


class WholeActions(Case):
    """Rounded, and scaled without overflow."""

    action_space = Box(100, 250, (1,), np.uint8)


class NoRange(Case):
    action_space = Box(np.array([-1, 0.5], np.float32), np.array([1, 0.5], np.float32))


class Unbounded(Case):
    action_space = Box(-np.inf, np.inf, (1,), np.float32)


class NoActions(Case):
    action_space = Box(-1, 1, (0,), np.float32)


class NothingSeen(Case):
    observation_space = Box(-1, 1, (0,), np.float32)


class NamedValues(Case):
    """Flattened in the order of the keys."""

    observation_space = Dict([("b", Box(-1, 1, (2,), np.float32)), ("a", Discrete(3))])

    def observe(self):
        return {
            "b": self.np_random.uniform(-1, 1, 2).astype(np.float32),
            "a": int(self.np_random.integers(3)),
        }


class Pairs(Case):
    observation_space = Tuple((Box(-1, 1, (2,), np.float32), MultiBinary(2), MultiDiscrete([2, 3])))

    def observe(self):
        return (
            self.np_random.uniform(-1, 1, 2).astype(np.float32),
            self.np_random.integers(0, 2, 2).astype(np.int8),
            self.np_random.integers(0, [2, 3]),
        )


class Numbered(Case):
    """One-hot."""

    observation_space = Discrete(7)

    def observe(self):
        return int(self.np_random.integers(7))


class TooManyNumbers(Case):
    observation_space = Discrete(10**9)


class OutsideNumber(Numbered):
    """-1 is not taken for the last number."""

    def observe(self):
        return -1


class ManyChoices(NamedValues):
    """Served as one choice among all combinations."""

    action_space = MultiDiscrete([3, 2], start=[1, 0])


class Switches(Case):
    action_space = MultiBinary(3)


class TooManyChoices(Case):
    action_space = MultiDiscrete([10, 10, 10, 10])


class TupleAction(Case):
    action_space = Tuple((Discrete(2), Box(-1, 1, (1,), np.float32)))


class ChannelsFirst(Case):
    """Its channels come last for algorithms."""

    observation_space = Box(0, 255, (3, 64, 48), np.uint8)

    def observe(self):
        return self.np_random.integers(0, 256, (3, 64, 48)).astype(np.uint8)


class Bytes(Case):
    """A vector of bytes is a vector of numbers."""

    observation_space = Box(0, 255, (4,), np.uint8)

    def observe(self):
        return self.np_random.integers(0, 256, 4).astype(np.uint8)


class Alone(Case):
    """Hardware: a second instance is an error."""

    open = made = 0

    def __init__(self):
        if Alone.open:
            raise RuntimeError("port busy")
        Alone.open += 1
        Alone.made += 1

    def close(self):
        Alone.open -= 1


class NeedsArgument(Case):
    def __init__(self, length):
        self.length = length

    def reward(self):
        return float(self.length)


class StepRaises(Late):
    def step(self, action):
        if self.late:
            raise RuntimeError("motor 3\nis hot")
        return super().step(action)


class Exits(Late):
    def step(self, action):
        if self.late:
            raise SystemExit
        return super().step(action)


class ResetRaises(Late):
    def reset(self, *, seed=None, options=None):
        if self.episodes == 2:
            raise OSError("port gone")
        return super().reset(seed=seed)


class CloseRaises(Case):
    def close(self):
        raise RuntimeError("port is stuck")


class NothingWorks(CloseRaises):
    def step(self, action):
        raise RuntimeError("motor 3 is hot")


class OldApi(Case):
    def step(self, action):
        return self.observe(), 1.0, False, {}


class NoInfo(Late):
    def step(self, action):
        *others, info = super().step(action)
        return *others, None if self.late else info


class NoFlag(Late):
    def step(self, action):
        observation, reward, _, truncated, info = super().step(action)
        return observation, reward, None if self.late else False, truncated, info


class PeriodMethod(Case):
    """Called."""

    def dt(self):
        return 0.04


class PeriodFails(Case):
    def dt(self):
        raise RuntimeError("no clock")


class NegativePeriod(Case):
    dt = -0.02


class TextPictures(Case):
    metadata = {"render_fps": "fast"}  # noqa: RUF012


class DrawsBadly(Case):
    """Not drawn; nothing else happens."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    model = data = object()

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def render(self):
        raise AttributeError("no display")


class DrawsNothing(DrawsBadly):
    def render(self):
        return None


class Forgetful(Case):
    """Randomness without a seed: a resumed run says that its episode is another one."""

    generator = np.random.default_rng(0)

    def observe(self):
        return self.generator.uniform(-1, 1, 3).astype(np.float32)


class SpacesFail(Case):
    """Its spaces come from a device that does not answer."""

    @property
    def observation_space(self):
        raise RuntimeError("not connected")


def register() -> None:
    """Register all cases; also the entry point of a package of a test."""
    for name, kind in list(globals().items()):
        if isinstance(kind, type) and issubclass(kind, Case) and kind not in (Case, Late):
            gym.register(f"Case{name}-v0", f"{__name__}:{name}")


register()
