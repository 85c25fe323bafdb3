"""Tasks of the DeepMind Control suite as Gymnasium environments."""

import gymnasium as gym
import numpy as np
import pytest

import spiking_wm.envs  # noqa: F401, registers them
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.dm_control import TASKS


def make(name: str, **kwargs) -> gym.Env:
    return gym.make(f"dm_control/{name}-v0", **kwargs)


def test_all_tasks_are_those_of_the_suite():
    from dm_control import suite

    known = {f"{domain}-{task}" for domain, task in suite.ALL_TASKS}
    assert set(TASKS) <= known and len(TASKS) == len(set(TASKS))


@pytest.mark.parametrize(
    ("name", "repeats"),
    [("cartpole-swingup", 4), ("walker-walk", 2), ("ball_in_cup-catch", 4), ("reacher-easy", 4)],
)
def test_observations_lie_within_their_space_and_an_episode_ends_by_time(name, repeats):
    env = make(name)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space and Spaces.of(env).period == env.unwrapped.dt
    steps, ended = 0, False
    while not ended:
        observation, reward, terminated, ended, _ = env.step(env.action_space.sample())
        assert observation in env.observation_space and 0 <= reward <= repeats and not terminated
        steps += 1
    assert steps * repeats == 1000


def test_a_step_is_some_control_steps_with_the_same_action():
    env, by_one = (make("cartpole-swingup", action_repeat=repeats) for repeats in (2, 1))
    assert env.unwrapped.dt == 2 * by_one.unwrapped.dt
    one, two = env.reset(seed=3)[0], by_one.reset(seed=3)[0]
    assert np.array_equal(one, two)
    for action in np.float32([[0.5], [-1.0], [0.2]]):
        one, reward, *_ = env.step(action)
        first = by_one.step(action)[1]
        two, second, *_ = by_one.step(action)
        assert np.array_equal(one, two) and reward == pytest.approx(first + second)


def test_the_seed_decides_the_episode():
    env = make("walker-walk")
    one, other, again = (env.reset(seed=seed)[0] for seed in (1, 2, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_pictures_are_drawn_without_a_screen():
    env = make("cartpole-swingup-pixels")
    picture, _ = env.reset(seed=0)
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8 and picture.std() > 10
    for _ in range(5):
        moved, *_ = env.step(np.float32([1.0]))
    assert not np.array_equal(picture, moved)
    assert env.render().shape == (240, 320, 3)
    env.close()
