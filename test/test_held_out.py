"""Which rows of a memory world models never learn from."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spiking_wm.memory import frames, sequences, transitions
from spiking_wm.memory.held_out import HeldOut


@pytest.mark.parametrize(
    ("memory", "block", "count"), [(transitions, 400, 20), (frames, 400, 20), (sequences, 1000, 40)]
)
def test_memories_hold_out_what_runs_were_trained_with(memory, block, count):
    assert HeldOut(block, count) == memory.HELD_OUT


@given(st.integers(0, 100))
def test_every_row_is_either_held_out_or_a_training_row(filled):
    scheme = HeldOut(block=10, count=3)
    held_out = {row for row in range(filled) if row % 10 in (7, 8, 9)}
    assert set(torch.arange(filled)[scheme.contains(torch.arange(filled))].tolist()) == held_out
    training = scheme.training_rows(torch.arange(scheme.training_count(filled)))
    assert training.tolist() == [row for row in range(filled) if row not in held_out]


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 5))
def test_segments_are_all_consecutive_held_out_rows_within_bounds(first, end, length):
    expected = [
        list(range(start, start + length))
        for start in range(first, end - length + 1)
        if all(row % 10 >= 6 for row in range(start, start + length))
    ]
    segments = HeldOut(block=10, count=4).segments(first, end, length)
    assert segments.shape == (len(expected), length) and segments.tolist() == expected


@given(st.integers(0, 50))
def test_capacities_are_rounded_up_to_whole_blocks(rows):
    capacity = HeldOut(block=10, count=3).whole_blocks(rows)
    assert capacity % 10 == 0 and rows <= capacity < rows + 10
