"""Changes of the world that are read out as places on their axes."""

import numpy as np
import pytest

from spiking_wm.agents.rsnn.changes import Mean, Places


def learned(reading: Places | Mean, happened: list[float], steps: int = 3000) -> float:
    """What is expected after something has happened again and again."""
    outputs, rng = np.zeros((1, reading.width), np.float32), np.random.default_rng(0)
    for _ in range(steps):
        outputs += 0.05 * reading.direction(np.float32([[rng.choice(happened)]]), outputs)
    return float(reading.change(outputs)[0, 0])


def test_a_change_between_two_places_is_told_more_finely_than_they_are_apart():
    for change in (-1.73, -0.2, 0.04, 0.61, 1.2):
        assert learned(Places(21, 2.0), [change]) == pytest.approx(change, abs=0.04)


def test_what_either_happens_or_does_not_is_not_told_by_its_mean():
    events = [1.0, 1.0, -1.0]
    assert learned(Places(21, 2.0), events) == pytest.approx(1, abs=0.05)
    assert learned(Mean(), events) == pytest.approx(1 / 3, abs=0.2)


def test_changes_out_of_reach_are_the_last_place_and_variables_do_not_meet():
    places = Places(5, 1.0)
    assert learned(places, [7.0]) > 0.7
    outputs = np.zeros((2, 10), np.float32)
    outputs[0, 1], outputs[1, 5 + 3] = 50, 50
    assert places.change(outputs)[0, 0] == pytest.approx(-0.5)
    assert places.change(outputs)[1, 1] == pytest.approx(0.5)
    direction = places.direction(np.float32([[0, 0], [0, 0]]), outputs)
    assert direction.reshape(2, 2, 5).sum(-1) == pytest.approx(0, abs=1e-6)
