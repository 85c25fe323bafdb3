"""Pictures of simulations."""

import numpy as np
import pytest

from spiking_wm.envs.camera import HEIGHT, WIDTH, Camera, Painter
from spiking_wm.envs.make import make_env

SHAPES = {
    "InvertedPendulum-v5": (HEIGHT, WIDTH, 3),
    "Rover-v0": (HEIGHT, WIDTH, 3),
    "dm_control/cartpole-swingup-v0": (HEIGHT, WIDTH, 3),
    "CartPole-v1": (400, 600, 3),
    "PongRam-v0": (210, 160, 3),
    "minatar/Breakout-v0": (100, 100, 3),
    "atari/Breakout-v0": (210, 160, 3),
}


@pytest.mark.parametrize("env_id", SHAPES)
def test_it_looks_and_changes_nothing(env_id):
    env, unseen = make_env(env_id), make_env(env_id)
    camera, pictures = Camera(env), []
    painter = Painter(camera.model, camera.name) if camera.model is not None else None
    np.testing.assert_array_equal(env.reset(seed=1)[0], unseen.reset(seed=1)[0])
    env.action_space.seed(0)
    for _ in range(30):
        action = env.action_space.sample()
        seen = camera.snap()
        np.testing.assert_array_equal(env.step(action)[0], unseen.step(action)[0])
        pictures.append(painter.draw(seen) if painter else seen)  # of when it was snapped
    assert pictures[0].shape == SHAPES[env_id] and pictures[0].dtype == np.uint8 and pictures[0].std() > 1
    assert any((picture != pictures[0]).any() for picture in pictures)
    if painter:
        env.reset(seed=1)
        np.testing.assert_array_equal(painter.draw(camera.snap()), pictures[0])
        painter.close()
    env.close(), unseen.close()


def test_there_may_be_nothing_to_see():
    env = make_env("InvertedPendulum-v5")
    blind = make_env("CartPole-v1").unwrapped
    blind.metadata = {"render_modes": []}
    assert Camera(blind).snap() is None and Camera(env).snap() is not None
