"""Random numbers of exploring."""

import numpy as np
import pytest

from spiking_wm.core.exploration import Exploration


@pytest.mark.parametrize("draw", [lambda rng: rng.random(3), lambda rng: rng.standard_normal(5)])
def test_random_numbers_of_a_step_do_not_depend_on_what_was_drawn_before(draw):
    exploration = Exploration(7)
    first = [draw(exploration.at(step)) for step in (3, 4)]
    exploration.at(9).random(1001)
    exploration.at(5).integers(3, dtype=np.int32)  # half of a number is left over
    assert np.array_equal(draw(exploration.at(4)), first[1])
    assert np.array_equal(draw(Exploration(7).at(3)), first[0])
    assert not np.array_equal(*first)
    assert np.array_equal(first[0], draw(np.random.Generator(np.random.Philox(key=7, counter=[0, 3, 0, 0]))))


def test_steps_share_no_random_numbers():
    drawn = np.concatenate([Exploration(7).at(step).random(1000) for step in range(3)])
    assert len(np.unique(drawn)) == 3000
