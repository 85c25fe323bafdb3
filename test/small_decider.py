"""A small decision transformer, and episodes for it to learn from."""

from typing import Any

import numpy as np
import pytest

from spiking_wm.agents.spiking_dt import agent as agent_module
from spiking_wm.agents.spiking_dt.agent import Agent
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.core.options import override
from spiking_wm.core.spaces import Spaces
from spiking_wm.datasets.demonstrations import Demonstration
from spiking_wm.envs.make import make_env

CART, PENDULUM = "CartPole-v1", "InvertedPendulum-v5"
SMALL = override(
    Options(),
    {
        "network": {"width": 16, "hidden": 16, "heads": 2, "context": 5},
        "imitation": {"batch": 16, "warmup": 20, "lr": 0.01},
        "online": {"rollout": 40},
        "replay": {"size": 1000},
    },
)


def spaces_of(env: str) -> Spaces:
    return Spaces.of(make_env(env))


def random_episode(
    length: int,
    rng: np.random.Generator,
    actions: np.ndarray | None = None,
    rewards: np.ndarray | None = None,
) -> Demonstration:
    seen = rng.normal(size=(length + 1, 4)).astype(np.float32)
    actions = rng.integers(2, size=length) if actions is None else actions
    rewards = np.ones(length) if rewards is None else rewards
    ended = np.arange(length) == length - 1
    return Demonstration(seen[:-1], actions, rewards.astype(np.float32), seen[1:], ended)


def taught(
    episodes: list[Demonstration],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any] | None = None,
    env: str = CART,
) -> Agent:
    """An agent with these demonstrations; ``changes`` are options by dotted names."""
    monkeypatch.setattr(agent_module, "load", lambda name: episodes)
    return Agent(override(SMALL, {"dataset": "these"} | (changes or {})), spaces_of(env), 0)
