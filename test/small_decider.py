"""A small decision transformer, and episodes for it to learn from."""

from dataclasses import replace

import numpy as np

from spiking_wm.agents.spiking_dt import agent as agent_module
from spiking_wm.agents.spiking_dt.agent import Agent
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.core.spaces import Spaces
from spiking_wm.datasets.demonstrations import Demonstration
from spiking_wm.envs.make import make_env

CART, PENDULUM = "CartPole-v1", "InvertedPendulum-v5"
SMALL = Options(
    width=16, hidden=16, heads=2, context=5, batch=16, rollout=40, replay=1000, warmup=20, lr=0.01
)


def spaces_of(env: str) -> Spaces:
    return Spaces.of(make_env(env))


def random_episode(length: int, rng: np.random.Generator, actions=None, rewards=None) -> Demonstration:
    seen = rng.normal(size=(length + 1, 4)).astype(np.float32)
    actions = rng.integers(2, size=length) if actions is None else actions
    rewards = np.ones(length) if rewards is None else rewards
    ended = np.arange(length) == length - 1
    return Demonstration(seen[:-1], actions, rewards.astype(np.float32), seen[1:], ended)


def taught(episodes: list[Demonstration], monkeypatch, env: str = CART, **options) -> Agent:
    monkeypatch.setattr(agent_module, "load", lambda name: episodes)
    return Agent(replace(SMALL, dataset="these", **options), spaces_of(env), 0)
