"""Transitions as messages, and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from std_msgs.msg import Header

from spiking_wm.core.contract import Transition
from spiking_wm_ros.nodes.messages import from_transition, to_transition


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(-1, 2**31 - 1))
def test_a_transition_comes_back_as_it_was(pixels, terminated, truncated, evaluation, life_lost, seed):
    dtype = np.uint8 if pixels else np.float32
    one, two = (np.arange(k, k + 24).reshape(2, 3, 4).astype(dtype) for k in (0, 5))
    action = np.asarray(3) if pixels else np.array([0.5, -1], np.float32)
    seen = Transition(one, action, 0.25, two, terminated, truncated, 7, 2**40, 9, evaluation, seed, life_lost)
    again = from_transition(to_transition(seen, Header()), action.dtype)
    for before, after in zip(seen, again, strict=True):
        np.testing.assert_array_equal(before, after)
    assert again.observation.dtype == dtype and again.action.shape == action.shape
