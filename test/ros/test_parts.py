"""Replay, normaliser, options, storage and spaces."""

import errno
import os

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spiking_wm.agents.popsan.options import Options
from spiking_wm.core import files, storage
from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import override, parse
from spiking_wm.core.presets import resolve
from spiking_wm.core.schedule import Schedule
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, unflatten
from spiking_wm.envs.make import make_env
from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.memory.transitions import Replay
from spiking_wm.training.episodes import RunningEpisode
from spiking_wm.training.session import Session
from test.conftest import ENV


def test_a_dream_without_an_accepted_transition_is_stored_as_nothing():
    replay = filled(5)
    before = replay.snapshot()
    replay.extend({name: values[:0] for name, values in replay.at(torch.arange(5)).items()})
    assert len(replay) == 5 and all(torch.equal(v, before[k]) for k, v in replay.snapshot().items())


def filled(count, capacity=1200, episode=30):
    replay = Replay.of_transitions(capacity, 2, 1)
    for i in range(count):
        state = np.full(2, i, np.float32)
        end = i % episode == episode - 1
        action = np.zeros(1, np.float32)
        replay.add(Transition(state, action, float(i), state + 1, False, end, i // episode, i, 1))
    return replay


@given(count=st.integers(1, 2500))
def test_training_rows_and_held_out_rows_never_meet(count):
    replay = filled(count)
    rows = replay.sample_training((500,), torch.Generator().manual_seed(0))
    assert rows.max() < len(replay)
    held = replay.held_out(1)[:, 0]
    assert not set(rows.tolist()) & set(held.tolist())
    assert len(held) == sum(i % 400 >= 380 for i in range(len(replay)))


@given(count=st.integers(400, 2500), horizon=st.integers(2, 15))
def test_held_out_stretches_are_consecutive_in_one_episode(count, horizon):
    replay = filled(count)
    windows = replay.held_out(horizon)
    if len(windows):
        values = replay.at(windows)["reward"][..., 0]
        assert (values.diff(dim=-1) == 1).all()
        assert not replay.at(windows[:, :-1])["truncated"].any()


def test_replay_forgets_the_oldest_and_restores():
    replay = filled(1300, capacity=1200)
    assert len(replay) == 1200 and replay.fields["reward"].min() == 100
    other = Replay.of_transitions(1200, 2, 1)
    other.restore(replay.snapshot())
    assert all(torch.equal(other.fields[name], replay.fields[name]) for name in replay.fields)
    assert other.written == 1300


def test_normaliser_is_numpys_mean_and_deviation():
    values = torch.randn(200, 3) * torch.tensor([1.0, 10.0, 0.0]) + 5
    normaliser = Normaliser(3)
    for value in values:
        normaliser.update(value)
    expected = (values - values.mean(0)) / values.std(0, correction=0).clamp(min=1e-6)
    torch.testing.assert_close(normaliser(values)[:, :2], expected[:, :2], rtol=1e-3, atol=1e-3)
    assert (normaliser(values)[:, 2].abs() < 1e-3).all()  # never moved: not divided by zero
    other = Normaliser(3)
    other(values)
    other.load_state_dict(normaliser.state_dict())
    assert torch.equal(other(values), normaliser(values))


def test_options_are_parsed_from_text_and_checked():
    assert parse(Schedule, "steps", "1e3") == 1000
    assert parse(Options, "actor_hidden", "[64, 32]") == (64, 32)
    assert parse(Schedule, "stop_when_solved", "true") is True
    for name, value, message in (
        ("steps", "12.5", "not a whole number"),
        ("steps", "0", "outside 1.."),
        ("seed", "-1", "outside 0.."),
        ("updates_per_step", "nan", "outside 0..100"),
        ("updates_per_step", "many", "not a number"),
        ("stop_when_solved", "1", "not true or false"),
        ("matmul", "low", "not one of highest, medium"),
        ("step", "3", "did you mean 'steps'"),
    ):
        with pytest.raises(UserError, match=message):
            parse(Schedule, name, value)
    with pytest.raises(UserError, match="list of whole numbers"):
        override(Options(), {"actor_hidden": "64"})


def test_what_is_given_beats_the_files_and_unknown_names_are_refused():
    assert resolve("popsan_dream", ENV, {"batch": "7"}).agent_options.batch == 7
    assert resolve("popsan", ENV, {}).agent_options.actor.hidden == (64, 64)  # config/envs
    assert resolve("popsan_dream", "Hopper-v5", {}).schedule.dream.every == 250  # config/algorithms
    with pytest.raises(UserError, match="unknown algorithm 'popsn'.*popsan"):
        resolve("popsn", ENV, {})
    with pytest.raises(UserError, match="did you mean 'batch'"):
        resolve("popsan", ENV, {"bach": "7"})


def test_files_are_whole_or_absent(tmp_path, monkeypatch):
    file = tmp_path / "weights"
    files.write_atomically(file, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomically(file, b"new")
    assert file.read_bytes() == b"old" and list(tmp_path.iterdir()) == [file]


def test_checkpoints_are_kept_whole_and_few(tmp_path, monkeypatch):
    folder = files.CheckpointFolder(tmp_path, keep=2)
    for count in range(5):  # the newest stays the newest however often a step is saved
        assert folder.save(5, {"a": str(count).encode()}) == folder.all()[-1]
    assert [(path / "a").read_text() for path in folder.all()] == ["3", "4"]
    paths = [folder.save(step, {"a": b"1", "b": b"2"}) for step in (10, 10, 20)]
    assert folder.all() == paths[-2:]
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(OSError):
        folder.save(30, {"a": b"1"})
    assert folder.all() == paths[-2:] and not list(tmp_path.glob(".unfinished*"))


def test_damaged_and_missing_files_are_named(tmp_path):
    file = tmp_path / "x.safetensors"
    with pytest.raises(UserError, match="does not exist"):
        storage.load(file)
    file.write_bytes(storage.pack({"w": torch.ones(100)}, {})[:-50])
    with pytest.raises(UserError, match="damaged"):
        storage.load(file)
    file.write_bytes(b"no tensors at all")
    with pytest.raises(UserError, match="damaged"):
        storage.load(file)
    with pytest.raises(UserError, match="no checkpoint in"):
        files.newest_checkpoint(tmp_path)


def test_nested_tensors_come_back():
    nested = {"a": {"b": torch.ones(2), "0": {"c": torch.zeros(1)}}, "d": torch.ones(1), "lr": 0.1}
    back = unflatten(flatten(nested))
    assert torch.equal(back["a"]["b"], torch.ones(2)) and "lr" not in back


@pytest.mark.parametrize("env_id", [ENV, "CartPole-v1", "HalfCheetah-v5"])
def test_spaces_survive_json_and_check_what_comes(env_id):
    spaces = Spaces.of(make_env(env_id))
    again = Spaces.from_json(spaces.to_json())
    assert again.to_json() == spaces.to_json()
    observation = np.zeros(spaces.observation.shape)
    assert again.check_observation(observation).dtype == np.float32
    with pytest.raises(UserError, match="shape"):
        again.check_observation(np.zeros(99))
    observation[1] = np.nan
    with pytest.raises(UserError, match="value 1 is NaN"):
        again.check_observation(observation)
    with pytest.raises(UserError, match="outside"):
        again.check_action(np.full(spaces.action.shape, 99))


class Pixels(gym.ObservationWrapper):
    """InvertedPendulum seen as a grey image of 4 by 4."""

    def __init__(self):
        super().__init__(gym.make(ENV))
        self.observation_space = gym.spaces.Box(0, 255, (4, 4), np.uint8)

    def observation(self, observation):
        return np.resize(observation * 10 % 256, (4, 4)).astype(np.uint8)


def test_pixels_stay_bytes():
    spaces = Spaces.of(Pixels())
    assert spaces.observation.dtype == np.uint8
    assert Spaces.from_json(spaces.to_json()).observation == spaces.observation


def test_session_numbers_steps_without_gaps_and_repeats_itself():
    def play(session, steps):
        seen = []
        for step in range(steps):
            (pending,) = session.pending()
            action = np.array([np.sin(step)], np.float32)
            seen.append((pending, *session.apply([action], 1)))
        return seen

    one = play(Session(ENV, 3, steps=100, evaluate_every=20, evaluation_episodes=2), 150)
    two = play(Session(ENV, 3, steps=100, evaluate_every=20, evaluation_episodes=2), 150)
    other = play(Session(ENV, 4, steps=100, evaluate_every=20, evaluation_episodes=2), 150)
    training = [t for _, t in one if not t.evaluation]
    assert [t.step for t in training] == list(range(len(training)))
    assert {t.episode for _, t in one if t.evaluation} == {0, 1}
    for (_, a), (_, b) in zip(one, two):
        np.testing.assert_array_equal(a.next_observation, b.next_observation)
    assert not np.array_equal(
        training[0].observation, [t for _, t in other if not t.evaluation][0].observation
    )


def test_session_goes_on_in_the_middle_of_an_episode():
    session = Session(ENV, 3, steps=100)
    actions = [np.array([0.1 * np.sin(i)], np.float32) for i in range(60)]
    seen = [session.apply([action], 1)[0] for action in actions]
    last = seen[40]
    begun = next(i for i in range(40, -1, -1) if i == 0 or seen[i - 1].done)
    resumed = Session(ENV, 3, steps=100)
    resumed.resume(40, [RunningEpisode(last.episode, -1, actions[begun:40])])
    for old, action in zip(seen[40:], actions[40:]):
        (new,) = resumed.apply([action], 1)
        np.testing.assert_array_equal(new.next_observation, old.next_observation)
        assert (new.step, new.episode, new.done) == (old.step, old.episode, old.done)


def test_session_truncates_on_request_only():
    session = Session(ENV, 0, steps=100)
    session.end_episode()
    assert session.apply([np.zeros(1, np.float32)], 1)[0].truncated
    assert not session.apply([np.zeros(1, np.float32)], 1)[0].truncated


def test_a_seed_chosen_for_the_next_episode():
    session, other = Session(ENV, 0, steps=100), Session(ENV, 1, steps=100)
    zero = np.zeros(1, np.float32)
    for each in (session, other):
        each.end_episode(next_seed=7)
        assert each.apply([zero], 1)[0].seed == -1
    (first,), (same,) = session.apply([zero], 1), other.apply([zero], 1)
    assert first.seed == 7
    np.testing.assert_array_equal(first.observation, same.observation)
    resumed = Session(ENV, 0, steps=100)
    resumed.resume(2, [RunningEpisode(1, 7, [zero])])
    np.testing.assert_array_equal(resumed.pending()[0].observation, first.next_observation)
    session.end_episode()  # the seed held for one episode
    session.apply([zero], 1)
    assert session.apply([zero], 1)[0].seed == -1


def test_unknown_environment_is_named_with_its_neighbour():
    with pytest.raises(UserError, match="unknown environment 'HalfCheeta-v5'.*HalfCheetah-v5"):
        make_env("HalfCheeta-v5")


def test_many_vectors_at_once_count_as_one_by_one():
    values = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 4 + 1
    one_by_one, at_once = Normaliser(3), Normaliser(3)
    for value in values:
        one_by_one.update(value)
    for part in values.split(17):
        at_once.extend(part)
    for name, kept in one_by_one.state_dict().items():
        torch.testing.assert_close(at_once.state_dict()[name], kept)
    torch.testing.assert_close(at_once.scale, values.std(0, correction=0))
