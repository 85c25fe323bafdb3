"""Replay of stacked pictures: what comes out is what was seen, bit for bit, and each picture is kept once."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.memory.frames import Frames

SHAPE, STACKED = (3, 2, 4), 4


def games(lengths: list[tuple[int, int]], seed: int = 0) -> list[Transition]:
    """Episodes that end by the task or by time, some with a break in the pictures, as at a new life."""
    rng, seen = np.random.default_rng(seed), []
    for episode, (length, how) in enumerate(lengths):
        pictures = [rng.integers(256, size=SHAPE[:2], dtype=np.uint8) for _ in range(STACKED)]
        for step in range(length):
            observation = np.stack(pictures[-STACKED:], -1)
            broken = how == 2 and step == length // 2
            pictures += [rng.integers(256, size=SHAPE[:2], dtype=np.uint8) for _ in range(1 + broken)]
            done, action, reward = step == length - 1, np.asarray(rng.integers(5)), float(rng.normal())
            one = Transition(
                observation,
                action,
                reward,
                np.stack(pictures[-STACKED:], -1),
                done and how != 1,
                done and how == 1,
                episode,
                len(seen),
                0,
                life_lost=broken,
            )
            seen.append(one)
    return seen


def kept(frames: Frames, transition: Transition, reward: float) -> bool:
    """Whether a transition is among those that can be drawn."""
    rows = torch.arange(max(frames.written - frames.capacity, 0) + STACKED - 1, frames.written - 1)
    rows = rows[frames.fields["leap"][rows % frames.capacity] > 0]
    batch = frames.at(rows)
    same = (
        (batch.observation == torch.from_numpy(transition.observation)).flatten(1).all(1)
        & (batch.next_observation == torch.from_numpy(transition.next_observation)).flatten(1).all(1)
        & (batch.action == int(transition.action))
        & (batch.reward == reward)
        & (batch.final == float(transition.final))
    )
    return int(same.sum()) == 1


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=1, max_size=8), st.integers(1, 3))
def test_every_transition_comes_out_as_it_went_in_and_only_old_ones_are_lost(lengths, size):
    frames, seen = Frames(size * 20, SHAPE, torch.uint8, STACKED), games(lengths)
    for transition in seen:
        frames.add(transition, float(np.float32(transition.reward)))
    found = [kept(frames, one, float(np.float32(one.reward))) for one in seen]
    assert found == sorted(found)  # first those that are lost, then those that are kept
    assert found[-1]
    assert len(frames) <= frames.capacity
    if frames.written <= frames.capacity:
        assert all(found)


def test_draws_only_what_was_seen():
    frames, seen = Frames(64, SHAPE, torch.uint8, STACKED), games([(9, 0), (7, 1), (9, 2)] * 8)
    for transition in seen:
        frames.add(transition, transition.reward)
    pairs = {(x.observation.tobytes(), x.next_observation.tobytes()) for x in seen}
    batch = frames.at(frames.sample(500, torch.Generator().manual_seed(0)))
    for now, later in zip(batch.observation, batch.next_observation):
        assert (now.numpy().tobytes(), later.numpy().tobytes()) in pairs


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 2)), min_size=1, max_size=8), st.integers(1, 5))
def test_transitions_of_many_steps_are_those_that_follow_each_other(lengths, steps):
    frames, seen = Frames(200, SHAPE, torch.uint8, STACKED), games(lengths)
    for transition in seen:
        frames.add(transition, transition.reward)
    rows = torch.arange(STACKED - 1, frames.written)
    batch = frames.at(rows[frames.fields["leap"][rows] > 0], steps, 0.9)
    assert len(batch.reward) == len(seen)
    for k, first in enumerate(seen):
        reward, weight = 0.0, 1.0
        for one in seen[k : k + steps]:
            if one.episode != first.episode:
                break
            reward, weight, last = reward + weight * one.reward, weight * 0.9 * (1 - one.final), one
        np.testing.assert_allclose((batch.reward[k], batch.weight[k]), (reward, weight), atol=1e-5)
        assert batch.final[k] == first.final
        assert weight == 0 or (batch.next_observation[k].numpy() == last.next_observation).all()


def test_each_picture_is_kept_once():
    frames = Frames(2000, (84, 84, 4), torch.uint8, 4)
    assert sum(x.nbytes for x in frames.fields.values()) / frames.capacity < 7100  # 8 GB hold 1.1 million


def test_a_file_may_hold_the_pictures(tmp_path):
    file = tmp_path / "deep" / "replay"
    mapped, plain = (Frames(40, SHAPE, torch.uint8, STACKED, x) for x in (str(file), ""))
    for transition in games([(9, 0), (9, 1)]):
        for frames in (mapped, plain):
            frames.add(transition, transition.reward)
    assert file.stat().st_size == 40 * 3 * 2
    assert torch.equal(mapped.fields["picture"], plain.fields["picture"])
    with pytest.raises(UserError, match="in use by another run"):  # it would be emptied while in use
        Frames(40, SHAPE, torch.uint8, STACKED, str(file))
    assert torch.equal(mapped.fields["picture"], plain.fields["picture"])
    del frames, mapped
    Frames(40, SHAPE, torch.uint8, STACKED, str(file))  # a run that goes on takes its file again
    (tmp_path / "precious").write_text("not a replay")
    with pytest.raises(UserError, match="something else"):
        Frames(40, SHAPE, torch.uint8, STACKED, str(tmp_path / "precious"))
    assert (tmp_path / "precious").read_text() == "not a replay"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="replay_file"):
        Frames(40, SHAPE, torch.uint8, STACKED, str(tmp_path / "file" / "replay"))


def test_continues_from_a_snapshot():
    frames, again = (Frames(40, SHAPE, torch.uint8, STACKED) for _ in range(2))
    seen = games([(9, 0), (9, 1), (9, 0)])
    for transition in seen[:14]:
        frames.add(transition, transition.reward)
    again.restore(frames.snapshot())
    for memory in (frames, again):
        for transition in seen[14:]:
            memory.add(transition, transition.reward)
    assert frames.written == again.written
    assert all(torch.equal(frames.fields[name], again.fields[name]) for name in frames.fields)


def test_what_is_held_out_is_not_drawn_for_a_world_model():
    frames = Frames(2000, SHAPE, torch.uint8, STACKED)
    for transition in games([(1500, 1)]):
        frames.add(transition, transition.reward)
    generator = torch.Generator().manual_seed(0)
    assert bool((frames.sample(400, generator, held_out=False) % 400 < 380).all())
    assert bool((frames.sample(400, generator, held_out=True) % 400 >= 380).all())
    segments = frames.held_out(5, 10)
    assert segments.shape == (5, 10)
    assert bool((segments % 400 >= 380).all()) and bool((segments.diff(dim=0) == 1).all())


def test_says_so_when_there_is_nothing_to_draw():
    frames = Frames(40, SHAPE, torch.uint8, STACKED)
    with pytest.raises(ValueError, match="holds no such transition"):
        frames.sample(4, torch.Generator())
    with pytest.raises(UserError, match="stacked:=1"):
        Frames(40, (3, 2, 5), torch.uint8, STACKED)
