"""Games of Pong: the environments, realisations that play side by side, and experiments with them."""

import importlib.util
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from ale_py import Action, ALEInterface, roms

import spiking_wm.envs  # noqa: F401  registers the environments
from spiking_wm.agents.rsnn.games import Games
from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve

ROOT = Path(__file__).resolve().parents[1]


def test_pong_counts_every_step_and_plays_by_its_seed():
    env = gym.make("PongRam-v0")

    def game(seed: int) -> list[np.ndarray]:
        observation, _ = env.reset(seed=seed)
        seen, over = [observation], False
        while not over:
            observation, _, terminated, over, _ = env.step(len(seen) % 3)
            assert not terminated and env.observation_space.contains(observation)
            seen.append(observation)
        return seen

    one, again, other = game(1), game(1), game(2)
    assert len(one) == 101 and env.unwrapped.environment_steps == 3 * (21 + 100)
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert np.array_equal(one[0], other[0])
    assert env.render().shape == (210, 160, 3)


def test_steps_are_four_frames_each_with_the_action_before_now_and_then():
    env = gym.make("PongRam-v0").unwrapped
    env.reset(seed=7)
    console, rng, last, rewards = ALEInterface(), np.random.default_rng(7), Action.NOOP, [0.0]
    console.setInt("frame_skip", 1)
    console.setFloat("repeat_action_probability", 0.0)
    console.loadROM(roms.get_rom_path("pong"))
    for _ in range(21 * 4):
        console.act(Action.NOOP)
    for action in np.random.default_rng(1).integers(3, size=300):
        reward = 0
        for draw in rng.random(4):
            last = last if draw < 0.25 else (Action.NOOP, Action.RIGHT, Action.LEFT)[action]
            reward += console.act(last)
        _, rewarded, *_ = env.step(action)
        rewards.append(rewarded)
        assert rewarded == reward and np.array_equal(env._console.getRAM(), console.getRAM())
        assert np.array_equal(env.render(), console.getScreenRGB())
    assert sum(np.abs(rewards)) >= 3


def test_pixels_of_pong_are_four_projections_of_the_same_game():
    ram, pixels = gym.make("PongRam-v0"), gym.make("PongPixels-v0")
    (before, _), (first, _) = ram.reset(seed=3), pixels.reset(seed=3)
    seen = [first]
    for step in range(100):
        observation, reward, *_ = ram.step(step % 3)
        projected, same_reward, *_ = pixels.step(step % 3)
        seen.append(projected)
        assert reward == same_reward and projected.shape == (4,) and np.isfinite(projected).all()
    again, _ = pixels.reset(seed=3)
    assert np.array_equal(again, first)  # not of the game before
    ram.reset(seed=3)
    assert np.array_equal(ram.render(), pixels.render()) and not np.array_equal(before, observation)
    assert (np.std(seen, 0) > 0.1).all()  # the ball and the paddles show


def games(seeds: range, **given) -> Games:
    small = {"actor.neurons": 30, "learn_after": 100, "policy.learn_after": 100}
    # after each game
    dreams = {"after": 200, "rollouts": 4, "halving": 0, "batch": 2, "group_size": 2, "horizon": 5}
    return Games(
        "PongRam-v0",
        resolve("rsnn_dream", "PongRam-v0", small | {"dream": dreams} | given),
        seeds,
    )


def test_games_follow_the_schedule_of_a_run_and_count_every_step():
    played = games(range(2))
    for _ in range(4):
        assert played.play().shape == (2,)
    assert played.environment_steps == 4 * 121
    assert played._envs[1].unwrapped.environment_steps == 4 * 121  # dreams made none
    expected = {"games": 4, "updates": 3, "dream_updates": 6, "imagined_steps": 6 * 2 * 5}
    assert played.counts == expected | {"evaluation_steps": 0}
    before = played.networks.snapshot()
    assert played.evaluate(2).shape == (2,) and played.counts["evaluation_steps"] == 200
    after = played.networks.snapshot()
    assert all(torch.equal(before[name], after[name]) for name in before)  # nothing is learned of it


def experiment_of(name: str, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    spec = importlib.util.spec_from_file_location(name, ROOT / f"experiments/{name}.py")
    experiment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(experiment)
    return experiment


def test_a_lead_is_that_of_pairs_of_seeds_at_equal_games(monkeypatch):
    experiment = experiment_of("rsnn_pong", monkeypatch)
    monkeypatch.setattr(experiment, "EVERY", 50)

    def rows(*returns: str) -> list[dict]:
        return [{"return_seeds": row} for row in returns]

    awake = rows("9 9 9 9", "0 1 2 3", "1 2 3 4")
    ahead = rows("0 0 0 0", "1 1 3 3", "2 4 4 6", "9 9 9 9")
    # pairs differ by 1, 1, 1, 1 on the mean of the last two rows that both have: 1, 0, 1, 0 and 1, 2, 1, 2
    assert experiment.lead(ahead, awake, 100) == pytest.approx((1.0, 0.0))
    mean, half = experiment.lead(ahead, awake, 50)
    assert mean == 1.5 and half == pytest.approx(3.182 * np.std([1, 2, 1, 2], ddof=1) / 2, rel=1e-3)


@pytest.mark.slow
def test_an_experiment_goes_on_where_it_was_stopped_and_refuses_other_options(tmp_path, monkeypatch):
    experiment = experiment_of("rsnn_pong", monkeypatch)
    monkeypatch.setattr(experiment, "EVERY", 2)
    monkeypatch.setattr(experiment, "JUDGED", 1)
    arm = experiment.Arm(
        "dreams", "rsnn_dream", {"actor.neurons": 30, "learn_after": 100, "dream.after": 300}
    )
    monkeypatch.setitem(experiment.ARMS, "dream", arm)
    whole = experiment.play("dream", "PongRam-v0", range(3, 5), 6, tmp_path)
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    assert experiment.play("dream", "PongRam-v0", range(3, 5), 2, stopped) == whole[:1]
    assert experiment.play("dream", "PongRam-v0", range(3, 5), 6, stopped) == whole
    other_seeds = experiment.play("dream", "PongRam-v0", range(4, 6), 2, stopped)  # they begin anew
    assert len(other_seeds) == 1 and len(list(stopped.glob("*.safetensors"))) == 2
    other = arm._replace(given=arm.given | {"actor.neurons": 40})
    monkeypatch.setitem(experiment.ARMS, "dream", other)
    with pytest.raises(UserError, match="another actor.neurons"):
        experiment.play("dream", "PongRam-v0", range(3, 5), 8, stopped)
    experiment.draw({"dream": whole}, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_a_dream_is_drawn_of_what_the_experiment_kept(tmp_path, monkeypatch):
    pong, dream = (experiment_of(name, monkeypatch) for name in ("rsnn_pong", "rsnn_dream"))
    monkeypatch.setattr(pong, "EVERY", 2)
    monkeypatch.setattr(pong, "JUDGED", 1)
    options = ("env:=PongRam-v0", "seeds:=2", "first_seed:=3", "start:=2", "steps:=3", f"folder:={tmp_path}")
    monkeypatch.setattr("sys.argv", ["rsnn_dream", *options, f"results:={tmp_path / 'pictures'}"])
    with pytest.raises(UserError, match="arms:=dream env:=PongRam-v0 seeds:=2 first_seed:=3 makes it"):
        dream.main()
    pong.play("dream", "PongRam-v0", range(3, 5), 2, tmp_path)
    dream.main()
    assert (tmp_path / "pictures/rsnn_dream_PongRam-v0.png").stat().st_size > 10_000
