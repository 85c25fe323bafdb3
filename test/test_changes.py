"""Predicted changes that are read out as bins of an axis."""

import numpy as np
import pytest

from spiking_wm.agents.rsnn.changes import BinnedChange, MeanChange


def learned(reading: BinnedChange | MeanChange, happened: list[float], steps: int = 3000) -> float:
    """What is expected after something has happened again and again."""
    outputs, rng = np.zeros((1, reading.width), np.float32), np.random.default_rng(0)
    for _ in range(steps):
        outputs += 0.05 * reading.score(np.float32([[rng.choice(happened)]]), outputs)
    return float(reading.change(outputs)[0, 0])


def test_a_change_between_two_bins_is_predicted_more_finely_than_they_are_apart():
    for change in (-1.73, -0.2, 0.04, 0.61, 1.2):
        assert learned(BinnedChange(21, 2.0), [change]) == pytest.approx(change, abs=0.04)


def test_a_change_with_two_outcomes_is_not_predicted_by_its_mean():
    events = [1.0, 1.0, -1.0]
    assert learned(BinnedChange(21, 2.0), events) == pytest.approx(1, abs=0.05)
    assert learned(MeanChange(), events) == pytest.approx(1 / 3, abs=0.2)


def test_changes_out_of_reach_are_in_the_last_bin_and_variables_do_not_meet():
    binned = BinnedChange(5, 1.0)
    assert learned(binned, [7.0]) > 0.7
    outputs = np.zeros((2, 10), np.float32)
    outputs[0, 1], outputs[1, 5 + 3] = 50, 50
    assert binned.change(outputs)[0, 0] == pytest.approx(-0.5)
    assert binned.change(outputs)[1, 1] == pytest.approx(0.5)
    score = binned.score(np.float32([[0, 0], [0, 0]]), outputs)
    assert score.reshape(2, 2, 5).sum(-1) == pytest.approx(0, abs=1e-6)
