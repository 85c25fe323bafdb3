"""Dreams that begin at the same moment."""

import numpy as np
import pytest

from spiking_wm.agents.rsnn.actor import Actor, Stream
from spiking_wm.agents.rsnn.actor_and_model import ActorAndModel
from spiking_wm.agents.rsnn.dream_groups import group_relative, stratified_noise
from spiking_wm.core.errors import UserError
from test.small_actor_and_model import SPACES, live, random, small


def test_the_noise_of_a_group_is_one_number_in_each_equal_part_and_uniform_over_all():
    drawn = stratified_noise([np.random.default_rng(n) for n in range(24)], 50, 2, 4)
    assert drawn.shape == (50, 24, 2) and drawn.min() >= 0 and drawn.max() < 1
    parts = np.floor(drawn * 4).reshape(50, 6, 4, 2)
    assert (np.sort(parts, 2) == np.arange(4)[:, None]).all()
    assert len(np.unique(parts[:, 0, :, 0], axis=0)) > 15  # which one is in which part changes
    assert abs(np.corrcoef(drawn[..., 0].ravel(), drawn[..., 1].ravel())[0, 1]) < 0.1
    alone = stratified_noise([np.random.default_rng(n) for n in range(8, 16)], 50, 2, 4)
    assert np.array_equal(alone, drawn[:, 8:16])
    single = stratified_noise([np.random.default_rng(0)], 2000, 1)
    assert abs(single.mean() - 0.5) < 0.03 and abs(single.std() - 12**-0.5) < 0.02


def test_errors_are_relative_to_those_of_the_group_that_are_alive():
    error = np.float32([1, 2, 6, 5, 7, 9])
    assert group_relative(error, np.ones(6, np.float32), 3).tolist() == [-3, -1.5, 4.5, -3, 0, 3]
    alive = np.float32([1, 0, 1, 0, 1, 0])
    assert group_relative(error, alive, 3).tolist() == [-5, 0, 5, 0, 7, 0]  # nobody is left for the 7
    assert group_relative(error, alive, 1).tolist() == [1, 0, 6, 0, 7, 0]


def test_what_the_common_beginning_is_worth_teaches_the_policy_nothing():
    """A wrong value of the first moment is in the gradient without a group, and not with one."""
    o, inputs = small(policy_scale=0.3), random((4, 1, 3), 1)

    def gradient(size: int, wrong: float) -> np.ndarray:
        actor = Actor([np.random.default_rng(0)], 3, 2, o)
        stream = Stream(actor, 4, 4, real=False, group_size=size)
        for step, x in enumerate(inputs):
            stream.see(x.repeat(4, 0), np.float32([1, 0, 0, 2]) if step == 2 else np.zeros(4, np.float32))
            if step == 0:
                stream.value = stream.value + np.float32(wrong)
            stream.choose(np.float32([[1, -1], [-1, 1], [1, -1], [0.5, -0.5]]))
        stream.end(np.zeros(4, np.float32))
        return stream.take("policy")

    assert np.abs(gradient(1, 0) - gradient(1, 5)).max() > 1
    assert np.allclose(gradient(4, 0), gradient(4, 5), atol=1e-4) and np.abs(gradient(4, 0)).max() > 0.1


def test_a_group_begins_at_one_moment_and_goes_apart():
    o = small(dream_batch=6, dream_group_size=3, dream_horizon=5)
    networks = ActorAndModel(o, SPACES, [3, 4])
    live(networks, 60)
    moment = networks.imagination.recall(networks._generators(2, 0, 6), int(networks.steps))
    groups = moment.inputs.reshape(4, 3, -1)
    assert (groups == groups[:, :1]).all() and len(np.unique(groups[:, 0], axis=0)) > 1
    networks.dream()
    ends = networks.imagination.dreamed.activity.inputs.reshape(4, 3, -1)
    assert (ends != ends[:, :1]).any()


def test_a_batch_of_dreams_is_a_multiple_of_the_group():
    with pytest.raises(UserError, match="dream.batch:=24 is no multiple of dream.group_size:=5"):
        ActorAndModel(small(dream_batch=24, dream_group_size=5), SPACES, [0])
