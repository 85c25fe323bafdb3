"""An agent and an environment as somebody else's package would bring them."""

from collections.abc import Mapping
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

import spiking_wm
from spiking_wm.core.contract import Metrics, Transition, Weights
from spiking_wm.core.options import option


class Reach(gym.Env):
    """A point on a line that is to get to 0."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    length = 10

    def __init__(self):
        self.closed = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.uniform(-1, 1, 1).astype(np.float32), 0
        return self.place.copy(), {}

    def step(self, action):
        self.place = (self.place + 0.1 * action).clip(-1, 1).astype(np.float32)
        self.steps += 1
        return self.place.copy(), -abs(float(self.place[0])), False, self.steps == self.length, {}

    def close(self):
        self.closed = True


def make_reach() -> gym.Env:
    return Reach()


gym.register("Reach-v7", Reach)


@dataclass(frozen=True)
class Options:
    lr: float = option(0.1, "learning rate", 0, 1)


class GuesserPolicy(spiking_wm.Policy):
    """Draws among discrete actions by learned preferences."""

    def load(self, weights: Mapping[str, Tensor]) -> None:
        self.preference = weights["preference"].numpy()

    def act(self, observation, state, rng):
        noise = 0.0 if rng is None else rng.gumbel(size=len(self.preference))
        return np.asarray(int((self.preference + noise).argmax())), None


class Guesser(spiking_wm.Agent):
    """Prefers what was followed by reward, less where the task ended."""

    policy_class, options_class = GuesserPolicy, Options
    preset = {"learn_after": 0}  # noqa: RUF012

    def __init__(self, options, spaces, seed):
        super().__init__(options, spaces, seed)
        generator = torch.Generator().manual_seed(seed)
        self.preference = 0.1 * torch.randn(int(spaces.action.n), generator=generator)
        self.gain = torch.zeros_like(self.preference)

    def policy_weights(self) -> Weights:
        return {"preference": self.preference.clone()}

    def observe(self, transition: Transition) -> None:
        later = 0.0 if transition.final else 1.0
        self.gain[int(transition.action)] += transition.reward + later

    def learn(self) -> Metrics:
        self.preference += self.options.lr * self.gain / (1 + self.gain.abs().sum())
        return {}

    def snapshot(self) -> Weights:
        return {"preference": self.preference.clone(), "gain": self.gain.clone()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        self.preference, self.gain = snapshot["preference"].clone(), snapshot["gain"].clone()
