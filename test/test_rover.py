"""The rover: physics, energy and reward."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from spiking_wm.envs.make import make_env


@pytest.fixture
def rover():
    env = make_env("Rover-v0")
    yield env
    env.close()


def drive(env, action, steps):
    for _ in range(steps):
        result = env.step(np.array(action, np.float32))
    return result


def towards_beacon(observation):
    """Turn to the beacon and drive: a hand-written policy."""
    sine, cosine = observation[12:14]
    turn = sine if cosine > 0 else np.sign(sine)
    return np.clip([max(cosine, 0) - turn, max(cosine, 0) + turn], -1, 1).astype(np.float32)


@pytest.mark.filterwarnings("ignore:.*infinity.*")
def test_it_is_a_proper_environment(rover):
    check_env(rover.unwrapped, skip_render_check=True)


def test_it_drives_forward_and_turns(rover):
    rover.reset(seed=0)
    observation, *_ = drive(rover, [1, 1], 40)
    assert 0.3 < observation[8] < 0.8 and abs(observation[7]) < 0.2
    rover.reset(seed=0)
    observation, *_ = drive(rover, [-1, 1], 40)
    assert observation[7] > 2  # to the left
    assert np.linalg.norm(rover.unwrapped.data.qpos[:2]) < 0.05


def test_reward_is_progress_and_beacons(rover):
    observation, _ = rover.reset(seed=1)
    first, total = observation[11], 0.0
    while True:
        observation, reward, _, _, info = rover.step(towards_beacon(observation))
        total += reward
        if info["beacons"]:
            break
    assert total == pytest.approx(10 * (first - 0.25) + 5, abs=0.3)
    assert observation[11] > 0.25  # it stands elsewhere now


def test_range_finders_see_walls(rover):
    observation, _ = rover.reset(seed=0)
    rover.unwrapped.data.qpos[:2] = 1.7, -0.3
    rover.unwrapped.data.qpos[3:7] = 1, 0, 0, 0  # facing +x
    observation, *_ = drive(rover, [0, 0], 1)
    assert observation[3] == pytest.approx(0.25, abs=0.02)
    assert (observation[:7] <= 3).all() and (observation[:7] > 0).all()


def test_driving_costs_more_than_standing_and_the_dock_charges(rover):
    env = rover.unwrapped
    env.reset(seed=0, options={"battery": 0.5})
    _, _, _, _, info = drive(env, [0, 0], 50)
    assert info["charging"] and info["battery"] == pytest.approx(0.5 + (60 - 5) / 1500, abs=1e-3)
    standing = info["power"]
    _, _, _, _, info = drive(env, [1, 1], 5)
    assert info["power"] > standing + 1
    drive(env, [1, 1], 60)
    before = env.battery.energy_j
    _, _, _, _, info = drive(env, [0, 0], 50)
    assert not info["charging"] and before - env.battery.energy_j == pytest.approx(5, abs=0.5)


def test_it_is_stranded_when_the_battery_is_empty(rover):
    rover.reset(seed=0, options={"battery": 0.0005})
    rover.unwrapped.data.qpos[:2] = 1, 0
    terminated = [rover.step(np.zeros(2, np.float32))[2] for _ in range(10)]
    assert terminated[-1] and not terminated[0]


def test_a_seed_makes_an_episode(rover):
    first = [rover.reset(seed=3)[0], drive(rover, [0.5, 1], 20)[0]]
    second = [rover.reset(seed=3)[0], drive(rover, [0.5, 1], 20)[0]]
    assert np.array_equal(first, second)
    assert not np.array_equal(first[0], rover.reset(seed=4)[0])
