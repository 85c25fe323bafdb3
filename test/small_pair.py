"""A small pair of agent and model network, and a world of noise for it to live in."""

import numpy as np
from gymnasium.spaces import Box, Discrete

from spiking_wm.agents.rsnn.actor_and_model import Pair
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.core.spaces import Spaces

SPACES = Spaces(Box(-1, 1, (3,), np.float32), Discrete(2), 0.1)
SMALL = Options(
    neurons=20,
    model_neurons=20,
    together=1,
    value_first=0,
    dream_values=True,
    rest=-2.0,
    input_lr=0.0,
    model_input_lr=0.0,
    model_lr=1e-3,
    reward_weight=0.5,
    sharpen_time=0,
    curves=0,
    model_curves=0,
    input_scale=6.0,
    model_input_scale=12.0,
    model_bias=4.0,
    model_share=0.3,
    entropy=0.0,
)
PLASTIC_INPUTS = {"input_lr": 0.01, "model_input_lr": 0.01, "share": 0.5, "model_share": 0.5}


def random(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def live(pair: Pair, steps: int, episode: int = 25, rows=None) -> None:
    """A world of noise, rewards and all, in which realisations ``rows`` of many live."""
    rows = range(len(pair.seeds)) if rows is None else rows
    world = np.random.default_rng(5)
    observation = world.uniform(-1, 1, (9, 3)).astype(np.float32)
    for step in range(steps):
        outputs = pair.see(observation[rows])
        drawn = [np.random.default_rng([s, step]).random(pair.head.chances) for s in pair.seeds]
        pair.choose(pair.head.draw(outputs, np.stack(drawn)))
        observation = (0.9 * observation + world.normal(0, 0.1, (9, 3))).clip(-1, 1).astype(np.float32)
        reward = (world.random(9) < 0.2).astype(np.float32)
        over = step % episode == episode - 1
        pair.follow(observation[rows], reward[rows], over and step % 2 == 0, over and step % 2 == 1)
        if step % 20 == 19:
            pair.learn()
            if pair.can_dream:
                pair.dream()
