"""An environment that fails in one copy. Loads no torch, as each copy's process imports it."""

import multiprocessing
import os
import signal
import time

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

COPY, STEP = 1, 15  # in whose episode, and at which of its steps


class Odd(Exception):
    """Cannot be sent to other processes."""

    def __reduce__(self):
        raise TypeError("no")


class Faulty(gym.Env):
    """Fails in copy 1 after some steps, or where ``kind`` says."""

    observation_space, action_space = Box(-1, 1, (2,), np.float32), Discrete(2)

    def __init__(self, kind: str):
        self.kind = kind
        if kind == "made" and multiprocessing.parent_process():
            raise RuntimeError("port\nbusy")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.seed, self.t = seed, 0
        if self.kind == "reset" and seed == 2:
            raise OSError("port gone")
        return self.observation_space.sample() * 0, {}

    def step(self, action):
        self.t += 1
        if self.seed == COPY and self.t == STEP:
            match self.kind:
                case "step":
                    raise RuntimeError("motor 3\nis hot")
                case "odd":
                    raise Odd("odd")
                case "exit":
                    raise SystemExit(3)
                case "end":
                    os._exit(3)
                case "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "nan":
                    return np.zeros(2, np.float32), float("nan"), False, False, {}
                case "shape":
                    return np.zeros(3, np.float32), 0.0, False, False, {}
        return np.zeros(2, np.float32), 0.0, False, self.kind == "reset" and self.t == STEP, {}

    def close(self):
        if self.kind == "close":
            raise RuntimeError("port is stuck")


class Slow(Faulty):
    """A step never ends."""

    def __init__(self):
        super().__init__("")

    def step(self, action):
        time.sleep(1000)
