"""Spaces and rewards at random: hypothesis over what environments may have."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces as gym_spaces
from hypothesis import given
from hypothesis import strategies as st

from spiking_wm.core.errors import UserError
from spiking_wm.core.flat_spaces import actions, observations
from spiking_wm.core.game_loop import take_step
from spiking_wm.core.spaces import Spaces
from test.environments import Case, NamedValues, Pairs

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of Gymnasium
small = st.integers(1, 3)
leaves = st.one_of(
    st.lists(small, min_size=1, max_size=2).map(
        lambda shape: gym_spaces.Box(-1, 1, tuple(shape), np.float32)
    ),
    small.map(lambda n: gym_spaces.Box(0, 255, (n,), np.uint8)),
    small.map(lambda n: gym_spaces.Box(n, 7, (n,), np.uint8)),
    st.tuples(small, st.integers(-2, 2)).map(lambda given: gym_spaces.Discrete(given[0], start=given[1])),
    st.lists(small, min_size=1, max_size=3).map(gym_spaces.MultiDiscrete),
    small.map(gym_spaces.MultiBinary),
)
keys = st.text("abc", min_size=1, max_size=3)
nested = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.dictionaries(keys, parts, min_size=1, max_size=3).map(lambda d: gym_spaces.Dict(list(d.items()))),
        st.lists(parts, min_size=1, max_size=3).map(gym_spaces.Tuple),
    ),
    max_leaves=6,
)


@given(space=nested, seed=st.integers(0, 1000))
def test_every_observation_space_is_flattened_alike_wherever_it_goes(space, seed):
    spaces = Spaces(observations(space), actions(gym_spaces.Discrete(3)), 0.02)
    again = Spaces.from_json(spaces.to_json())
    assert again.to_json() == spaces.to_json()
    space.seed(seed)
    seen = space.sample()
    flat = spaces.check_observation(seen)
    assert flat.shape == spaces.observation.shape and spaces.observation.contains(flat)
    np.testing.assert_array_equal(again.check_observation(seen), flat)
    np.testing.assert_array_equal(spaces.check_observation(flat), flat)


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_every_combination_is_one_action(sizes, seed):
    space = actions(gym_spaces.MultiDiscrete(sizes))
    space.seed(seed)
    assert space.n == np.prod(sizes) and space.source.contains(space.convert(space.sample()))
    assert len({tuple(space.convert(k)) for k in range(space.n)}) == space.n


@given(
    reward=st.one_of(
        st.floats(),
        st.integers(-(10**9), 10**9),
        st.floats(width=32).map(np.float32),
        st.floats().map(lambda x: np.array([x])),
        st.text(max_size=3),
        st.none(),
        st.lists(st.floats(), max_size=2),
        st.binary(max_size=2),
        st.complex_numbers(),
    )
)
def test_a_reward_is_a_finite_number_or_refused(reward):
    env = Case()
    env.reset(seed=0)
    env.reward = lambda: reward
    number = reward.item() if isinstance(reward, np.ndarray) else reward
    good = isinstance(number, int | float | np.floating) and np.isfinite(number)
    if good:
        assert take_step(env, None, np.zeros(1, np.float32)).reward == number
    else:
        with pytest.raises(UserError, match="reward"):
            take_step(env, None, np.zeros(1, np.float32), number=3)


def test_flattening_is_gymnasiums():
    for env in (NamedValues(), Pairs()):
        env.reset(seed=1)
        seen = env.observe()
        ours = env.observation_space
        if isinstance(ours, gym_spaces.Dict):
            ours = gym_spaces.Dict(dict(sorted(ours.spaces.items())))
        expected = gym.spaces.flatten(ours, seen)
        np.testing.assert_array_equal(observations(env.observation_space).convert(seen), np.float32(expected))
