"""Small agent and model networks, and a world of noise for them to live in."""

import numpy as np
from gymnasium.spaces import Box, Discrete

from spiking_wm.agents.rsnn.actor_and_model import ActorAndModel
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.core.options import override
from spiking_wm.core.spaces import Spaces

SPACES = Spaces(Box(-1, 1, (3,), np.float32), Discrete(2), 0.1)
SMALL = override(
    Options(),
    dict(
        actor_neurons=20,
        model_neurons=20,
        dream_batch=1,
        policy_learn_after=0,
        dream_learn_values=True,
        neuron_rest=-2.0,
        actor_input_lr=0.0,
        model_input_lr=0.0,
        model_lr=1e-3,
        model_reward_weight=0.5,
        policy_sharpen_time=0,
        actor_curves=0,
        model_curves=0,
        actor_input_scale=6.0,
        model_input_scale=12.0,
        model_bias=4.0,
        model_share=0.3,
        policy_entropy=0.0,
    ),
)
PLASTIC_INPUTS = {"actor_input_lr": 0.01, "model_input_lr": 0.01, "actor_share": 0.5, "model_share": 0.5}


def small(**given) -> Options:
    """`SMALL` with other values, by flat names."""
    return override(SMALL, given)


def random(shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def live(networks: ActorAndModel, steps: int, episode: int = 25, rows=None) -> None:
    """A world of noise, rewards and all, in which realisations ``rows`` of many live."""
    rows = range(len(networks.seeds)) if rows is None else rows
    world = np.random.default_rng(5)
    observation = world.uniform(-1, 1, (9, 3)).astype(np.float32)
    for step in range(steps):
        outputs = networks.see(observation[rows])
        drawn = [np.random.default_rng([s, step]).random(networks.head.noise_width) for s in networks.seeds]
        networks.choose(networks.head.draw(outputs, np.stack(drawn)))
        observation = (0.9 * observation + world.normal(0, 0.1, (9, 3))).clip(-1, 1).astype(np.float32)
        reward = (world.random(9) < 0.2).astype(np.float32)
        over = step % episode == episode - 1
        networks.follow(observation[rows], reward[rows], over and step % 2 == 0, over and step % 2 == 1)
        if step % 20 == 19:
            networks.learn()
            if networks.can_dream:
                networks.dream()
