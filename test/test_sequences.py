"""Experience in the order in which it came."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spiking_wm.core.contract import Transition
from spiking_wm.memory.sequences import Sequences


def filled(steps: int, length: int = 7, capacity: int = 2000, ends: str = "truncated") -> Sequences:
    """Steps whose observations count from 0 on, in episodes of some length."""
    memory, count = Sequences(capacity, (1,), torch.float32, 2), 0
    for step in range(steps):
        episode, at = divmod(step, length)
        over = {ends: at == length - 1} if ends else {}
        now, then = np.float32([count]), np.float32([count + 1])
        flags = {"terminated": False, "truncated": False} | over
        code = np.float32([step, -step])
        memory.add(
            Transition(now, code, step, then, **flags, episode=episode, step=step, policy_version=0),
            code,
            step,
        )
        count += 2 if at == length - 1 else 1  # no number twice
    return memory


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_sequences_are_what_came_one_after_the_other():
    drawn = filled(300).sample(64, 10, generator())
    numbers, starts = drawn.observation[..., 0], drawn.first[1:] == 1
    assert (numbers[1:] - numbers[:-1] == 1).all()  # also where an episode begins: its number is the next
    assert starts.any() and (drawn.reward[1:][starts] == 0).all() and (drawn.action[1:][starts] == 0).all()
    assert (drawn.action[..., 0] == drawn.reward).all()


def test_a_sequence_begins_as_an_episode_does_and_the_memory_is_not_changed_by_that():
    memory = filled(300)
    before = {name: field.clone() for name, field in memory.fields.items()}
    drawn = memory.sample(64, 10, generator())
    drawn.observation[:] = -1
    assert (drawn.first[0] == 1).all()
    assert all(torch.equal(memory.fields[name], field) for name, field in before.items())


@pytest.mark.parametrize("ends", ["terminated", "truncated"])
def test_only_where_the_task_ended_is_terminal(ends):
    terminal = filled(70, ends=ends).fields["terminal"]
    assert terminal.sum() == (10 if ends == "terminated" else 0)


@pytest.mark.parametrize("steps", [700, 1500, 5000, 9037])
def test_what_is_held_out_is_never_drawn_and_nothing_crosses_the_seam(steps):
    memory = filled(steps, capacity=3000)
    drawn = memory.sample(4000, 30, generator()).observation[..., 0]
    assert (drawn[1:] - drawn[:-1] == 1).all()
    rows = memory.fields["observation"][:, 0]
    held_out = {float(rows[r]) for r in range(len(memory)) if r % 1000 >= 960}
    assert not held_out & set(drawn.flatten().tolist())


def test_all_that_is_not_held_out_is_drawn_about_equally_often():
    memory = filled(2500, capacity=3000)
    first = memory.sample(20_000, 30, generator()).observation[0, :, 0]
    full, begun = 2 * (960 - 29), memory.written % 1000 - 29
    assert abs((first < 2000).float().mean() - full / (full + begun)) < 0.02


def test_held_out_segments_lie_within_one_episode():
    segments = filled(6000, length=45, capacity=4000).held_out(20)
    numbers = segments.observation[..., 0]
    assert 0 < numbers.shape[1] < 4 and (segments.first[1:] == 0).all()
    assert (numbers[1:] - numbers[:-1] == 1).all()


def test_too_few_steps_are_an_error():
    with pytest.raises(ValueError, match="no sequence of 30 steps"):
        filled(10).sample(4, 30, generator())


def test_memory_is_taken_as_it_fills():
    def resident() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) * 1024

    before = resident()
    memory = Sequences(100_000, (64, 64, 3), torch.uint8, 2)  # 1.2 GB
    assert resident() - before < 50e6 and len(memory) == 0


def test_continues_from_a_snapshot_in_mid_episode():
    memory, again = filled(303, length=100), Sequences(2000, (1,), torch.float32, 2)
    again.restore(memory.snapshot())
    code = np.zeros(2, np.float32)
    following = Transition(code[:1], code, 0.0, code[:1], False, False, 3, 303, 0)
    for kept in (memory, again):
        kept.add(following, code, 0.0)
    assert memory.written == again.written == 303 + 4 + 1  # an episode's start is a step too
    assert all(torch.equal(memory.fields[n], again.fields[n]) for n in memory.fields)
