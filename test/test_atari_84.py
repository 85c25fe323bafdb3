"""Atari and MinAtar by the published protocol."""

import subprocess
import sys

import cv2
import gymnasium as gym
import numpy as np
import pytest
from ale_py import Action

from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import make_env
from spiking_wm.envs.minatar import GAMES
from spiking_wm.training.session import Session

BREAKOUT = "atari/Breakout-v0"


def play(env: gym.Env, steps: int, seed: int = 0) -> list[tuple]:
    """Steps at random from a seeded start."""
    rng, seen = np.random.default_rng(seed), []
    env.reset(seed=seed)
    for _ in range(steps):
        seen.append(env.step(int(rng.integers(env.action_space.n))))
        if seen[-1][2] or seen[-1][3]:
            env.reset(seed=seed + len(seen))
    return seen


@pytest.mark.parametrize(
    "env_id", [BREAKOUT, "atari/Pong-sticky-v0", "minatar/Breakout-v0", "minatar/SpaceInvaders-v0"]
)
def test_a_seed_decides_the_game(env_id):
    one, two, other = (
        play(env, 60, seed)
        for env, seed in zip((make_env(env_id), make_env(env_id), make_env(env_id)), (5, 5, 6))
    )
    assert all(np.array_equal(a[0], b[0]) and a[1:4] == b[1:4] for a, b in zip(one, two))
    assert not all(np.array_equal(a[0], b[0]) for a, b in zip(one, other))


def test_a_used_environment_begins_as_a_new_one_does():
    """Games of MinAtar would begin with the last action of the game before."""
    used, new = make_env("minatar/Breakout-v0"), make_env("minatar/Breakout-v0")
    play(used, 33, seed=1)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(play(used, 50, seed=2), play(new, 50, seed=2)))


def test_pictures_are_stacked_grey_and_the_newest_is_last():
    env = make_env(BREAKOUT)
    seen = play(env, 12)
    assert env.observation_space == gym.spaces.Box(0, 255, (84, 84, 4), np.uint8)
    for (before, *_), (after, _, _, _, info) in zip(seen, seen[1:]):
        if not info["life_lost"]:
            np.testing.assert_array_equal(after[..., :3], before[..., 1:])


def test_begins_with_frames_in_which_nothing_is_done():
    env = make_env(BREAKOUT)
    frames = {env.reset(seed=seed)[1]["episode_frame_number"] for seed in range(12)}
    assert len(frames) > 6 and max(frames) <= 31


def test_four_frames_a_step_and_the_brighter_of_the_last_two():
    env = make_env(BREAKOUT)
    env.reset(seed=0)
    before = env.unwrapped.ale.getEpisodeFrameNumber()
    env.step(0)
    assert env.unwrapped.ale.getEpisodeFrameNumber() == before + 4
    twin = gym.make("ALE/Breakout-v5", frameskip=1, repeat_action_probability=0.0).unwrapped.ale
    twin.restoreState(env.unwrapped.ale.cloneState())
    screens = []
    for _ in range(4):
        twin.act(Action.LEFT)
        screens.append(twin.getScreenGrayscale())
    observation, *_ = env.step(env.unwrapped.get_action_meanings().index("LEFT"))
    expected = cv2.resize(np.maximum(*screens[-2:]), (84, 84), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(observation[..., -1], expected)
    assert not np.array_equal(screens[-1], screens[-2])


def test_a_lost_life_is_told_and_the_game_goes_on_with_the_ball_in_play():
    env = make_env(BREAKOUT)
    seen = play(env, 400)
    lost = [k for k, step in enumerate(seen) if step[4]["life_lost"]]
    assert lost
    for k in lost:
        assert not seen[k][2]
        assert seen[k][4]["lives"] in range(1, 5)
    session = Session(BREAKOUT, 0, 400)
    told = [session.apply([np.asarray(k % 4)], 0)[0] for k in range(400)]
    assert any(t.life_lost and t.final and not t.done for t in told)


def test_fire_is_pressed_where_lives_begin_with_it():
    """Without it the ball of Breakout never comes, and no life is ever lost by doing nothing."""
    env = make_env(BREAKOUT)
    env.reset(seed=0)
    assert any(env.step(0)[4]["life_lost"] for _ in range(100))


@pytest.mark.parametrize("game", GAMES)
def test_minatar_shows_what_is_there(game):
    env = make_env(f"minatar/{game}-v0")
    seen = play(env, 300)
    pictures = np.stack([step[0] for step in seen])
    assert pictures.dtype == np.uint8 and set(np.unique(pictures)) == {0, 255}
    env.reset(seed=0)
    observation, *_ = env.step(0)
    assert np.array_equal(observation > 0, env.unwrapped._game.state())
    assert env.render().shape == (100, 100, 3)
    assert Spaces.of(env).observation.dtype == np.uint8


@pytest.mark.parametrize("env_id", [BREAKOUT, "PongRam-v0", "PongPixels-v0"])
def test_an_environment_that_is_closed_leaves_no_emulator_behind(env_id):
    """Nodes freeze the garbage collector; an emulator that is alive then is reported at the process's end."""
    program = (
        "import gc; from spiking_wm.envs.make import make_env\n"
        f"class Node: pass\nnode = Node(); node.itself, node.env = node, make_env('{env_id}')\n"
        "node.env.reset(seed=0); node.env.close(); gc.freeze()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, "")
