"""Agent and model network together: realisations side by side, memory, dreams, constants."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from spiking_wm.agents.rsnn.actor_and_model import Pair
from spiking_wm.agents.rsnn.inputs import Inputs
from spiking_wm.agents.rsnn.model import Prediction
from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import algorithms, resolve
from test.small_pair import PLASTIC_INPUTS, SMALL, SPACES, live, random


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"plan_steps": 2},
        {"dream_error": 2.0},
        {"baseline": False},
        {"together": 3},
        PLASTIC_INPUTS,
        PLASTIC_INPUTS | {"curves": 7, "model_curves": 5},
        PLASTIC_INPUTS | {"curves": 7, "pairs": 5, "model_pairs": 4, "model_change_curves": 5},
        {"critic_neurons": 15, "critic_every": 5, "together": 3},
        {"critic_neurons": 15, "plan_steps": 2, "least_turn": 0.3},
        {"places": 11, "together": 3},
    ],
)
def test_realisations_side_by_side_are_what_each_is_alone(changes):
    o = replace(SMALL, policy_scale=0.1, horizon=12, dream_starts=3, **changes)
    together, alone = Pair(o, SPACES, [4, 5, 6]), Pair(o, SPACES, [5])
    live(together, 130)
    live(alone, 130, rows=[1])
    both, one = together.snapshot(), alone.snapshot()
    assert both.keys() == one.keys()
    for name, value in one.items():
        if both[name].shape != value.shape:
            across = (slice(None), slice(1, 2)) if name.startswith("moments") else slice(1, 2)
            assert torch.equal(both[name][across], value), name
        else:
            assert torch.equal(both[name], value), name


def test_nothing_that_is_kept_grows_with_time():
    pair = Pair(SMALL, SPACES, [0, 1])
    live(pair, 100)
    before = sum(value.nbytes for value in pair.snapshot().values())
    live(pair, 1000, episode=500)
    assert sum(value.nbytes for value in pair.snapshot().values()) == before


def test_a_dream_begins_in_a_remembered_moment_and_leaves_the_waking_state_alone():
    pair = Pair(replace(SMALL, horizon=8, dream_starts=4), SPACES, [0])
    live(pair, 90)
    seen = []
    predict = pair.model.predict
    pair.model.predict = lambda activity, inputs, code: (
        seen.append(inputs.copy()) or predict(activity, inputs, code)
    )
    before = pair.snapshot()
    report = pair.dream()
    assert any(np.array_equal(seen[0][0], moment[0]) for moment in pair._moments.inputs)
    assert len(seen) == 8 and report["dream_length"] == 8
    changed = {name for name, value in pair.snapshot().items() if not torch.equal(value, before[name])}
    assert {name.split("/")[0] for name in changed} <= {"actor", "imagined", "dreams"}
    assert "actor/policy" in changed


def test_dreams_side_by_side_are_one_update_up_the_sum_of_what_each_gives():
    def gradients(together: int) -> dict[str, np.ndarray]:
        pair = Pair(replace(SMALL, together=together, horizon=5, policy_scale=0.1), SPACES, [0, 1])
        live(pair, 15)
        assert pair.dreams == 0
        pair.actor.value[:] = random(pair.actor.value.shape)
        given = []
        pair.actor.learn = lambda stream, asleep: given.append(
            {n: stream.take(n).copy() for n in pair.actor.learned()}
        )
        for _ in range(6 // together):
            pair.dream()
        assert pair.dreams == 6 and len(given) == 6 // together
        return {name: sum(update[name] for update in given) for name in given[0]}

    alone, abreast = gradients(1), gradients(6)
    for name, value in alone.items():
        assert np.allclose(abreast[name], value, atol=1e-4) and np.abs(value).max() > 0.01, name


def test_dreams_learn_at_a_rate_of_their_own_and_repeat_nothing_of_waking():
    def moved(rate: float) -> float:
        pair = Pair(replace(SMALL, dream_rate=rate, policy_scale=0.1), SPACES, [0])
        live(pair, 18)
        pair.actor.adams["policy"].mean[:] = 1e3  # of what was learned awake
        before = pair.actor.policy.copy()
        pair.dream()
        return np.abs(pair.actor.policy - before).max()

    whole, half = moved(1.0), moved(0.5)
    assert half == pytest.approx(whole / 2, rel=0.01) and 0 < whole < 0.011
    assert moved(0.0) > 1  # one Adam for both


def test_dreams_do_not_climb_entropy():
    def dreamed(entropy: float) -> torch.Tensor:
        pair = Pair(replace(SMALL, entropy=entropy, policy_scale=0.1), SPACES, [0])
        pair.restore(lived)
        pair.dream()
        return pair.snapshot()["actor/policy"]

    pair = Pair(replace(SMALL, policy_scale=0.1), SPACES, [0])
    live(pair, 18)
    lived = pair.snapshot()
    assert torch.equal(dreamed(0.0), dreamed(5.0))
    assert not torch.equal(dreamed(0.0), lived["actor/policy"])


def test_unbounded_inputs_reach_as_far_as_bounded_ones():
    inputs = Inputs(Box(-np.inf, np.inf, (1,), np.float32), 1, centred=True)
    for value in np.random.default_rng(0).normal(7.0, 3.0, 4000):
        inputs.update(np.float32([[value]]))
    assert inputs(np.float32([[2.0]])) == 2.0  # as it is, until they are refreshed
    inputs.refresh()
    seen = inputs(np.float32([[7.0], [13.0], [1.0], [1e6]]))
    assert np.allclose(seen[:, 0], [0, 1, -1, 2.5], atol=0.1)


def test_fewer_dreams_than_stand_side_by_side_give_what_they_give():
    def weights(together: int) -> dict[str, torch.Tensor]:
        pair = Pair(replace(SMALL, together=together, horizon=5, policy_scale=0.1), SPACES, [0])
        live(pair, 15)
        pair.dream(2)
        assert pair.dreams == 2
        return pair.snapshot()

    few, many = weights(2), weights(7)
    assert all(torch.allclose(few[name], many[name], atol=1e-5) for name in few)


@pytest.mark.parametrize("learned", [True, False])
def test_values_are_learned_in_dreams_only_where_that_is_asked_for(learned):
    pair = Pair(replace(SMALL, dream_values=learned, policy_scale=0.1), SPACES, [0])
    live(pair, 38)
    value, policy = pair.actor.value.copy(), pair.actor.policy.copy()
    pair.actor.adams["value"].mean[:] = 0  # or Adam goes on a little by itself
    pair.dream()
    assert np.array_equal(pair.actor.value, value) != learned
    assert not np.array_equal(pair.actor.policy, policy)


def test_dreams_are_clipped_and_shrink_with_the_model_s_error():
    pair = Pair(replace(SMALL, horizon=10, dream_error=1.0), SPACES, [0])
    live(pair, 40)
    pair.model.change[:] = 50 * random(pair.model.change.shape)
    seen, predict = [], pair.model.predict
    pair.model.predict = lambda activity, inputs, code: (
        seen.append(inputs.copy()) or predict(activity, inputs, code)
    )
    pair.model.error[:], pair.model.no_change_error[:] = 0.7, 1.0
    assert pair.dream()["dream_length"] == 3
    assert np.abs(np.stack(seen)).max() == 1.0
    pair.model.error[:] = 5.0
    assert pair.dream()["dream_length"] == 1
    unclipped = Pair(replace(SMALL, horizon=10, clip_dreams=False), SPACES, [0])
    live(unclipped, 40)
    unclipped.model.change[:] = 50 * random(pair.model.change.shape)
    seen, predict = [], unclipped.model.predict
    unclipped.model.predict = lambda activity, inputs, code: (
        seen.append(inputs.copy()) or predict(activity, inputs, code)
    )
    unclipped.dream()
    assert np.abs(np.stack(seen)).max() > 2.0


def test_a_reward_may_end_what_is_imagined_and_what_follows_is_worth_what_it_was_awake():
    o = replace(SMALL, horizon=6, last_reward=0.5, reward_memory=0.0, discount=0.9, trace_decay=0.0)
    pair, met = Pair(o, SPACES, [0]), []
    see = pair.awake.see

    def watch(inputs, reward):
        outputs = see(inputs, reward)
        if reward[0] > 0:
            met.append(float(pair.awake.value[0]))
        return outputs

    pair.awake.see = watch
    pair.actor.value[:] = random(pair.actor.value.shape)
    live(pair, 24)  # one episode
    assert len(met) >= 3 and np.std(met) > 0
    assert pair._afterwards[0] == pytest.approx([0, np.mean(met)], abs=1e-6)
    rewards = iter([0.1, 0.2, 1.0, 5.0, 5.0, 5.0])
    pair.model.after = lambda inputs, prediction: (inputs, np.full(1, next(rewards), np.float32))
    credited, credit = [], pair.dreamed._credit
    pair.dreamed._credit = lambda target: (
        credited.append((float(target[0]), bool(pair.dreamed.alive[0]))) or credit(target)
    )
    assert pair.dream()["dream_return"] == pytest.approx(1.3)
    assert [alive for _, alive in credited] == [True, True, True, False, False, False]
    assert credited[2][0] == pytest.approx(1 + 0.9 * np.mean(met))
    assert credited[1][0] != pytest.approx(0.2)  # which is followed by a value


def test_an_imagined_reward_that_is_too_small_is_none():
    model = Pair(replace(SMALL, least_reward=0.3), SPACES, [0, 1, 2]).model
    still = np.zeros((3, 3), np.float32)
    _, reward = model.after(still, Prediction(still, still, np.float32([0.29, -0.31, 0.5]), still))
    assert reward == pytest.approx([0, -0.31, 0.5])


def test_a_change_goes_on_as_it_is_unless_it_is_to_differ_by_enough():
    model = Pair(replace(SMALL, least_turn=0.5, change_unit=0.1), SPACES, [0]).model
    moving = np.float32([[0.2, 0.2, 0.0]])
    following, _ = model.after(
        np.zeros((1, 3), np.float32), Prediction(2 * moving, moving, np.zeros(1), moving)
    )
    # predicted changes are 0.04, 0.04, 0; they differ from those that go on by more than 0.05, or not at all
    assert following[0] == pytest.approx([0.04, 0.04, 0.0])
    expected = np.float32([[2.3, 1.4, 0.6]])
    following, _ = model.after(
        np.zeros((1, 3), np.float32), Prediction(expected, expected, np.zeros(1), moving)
    )
    assert following[0] == pytest.approx([0.2, 0.14, 0.06])


def test_constants_of_paper_and_published_code_are_theirs():
    paper = resolve("rsnn_paper", "PongRam-v0", {}).agent_options
    assert (paper.discount, paper.reset, paper.rest, paper.input_scale) == (0.99, 20, -4, 5)
    published = resolve("rsnn_published_code", "PongRam-v0", {}).agent_options
    assert (published.discount, published.reset, published.rest, published.input_scale) == (
        0.998,
        100,
        -8,
        10,
    )
    assert (published.membrane_time, published.synapse_time) == (6, 4)
    for options in (paper, published):
        assert not options.baseline and not options.scale_inputs and not options.clip_dreams
        assert not (options.pairs or options.model_pairs or options.critic_neurons or options.least_turn)
    assert {"rsnn", "rsnn_dream", "rsnn_plan"} <= set(algorithms())


def test_pixels_are_refused_by_name():
    with pytest.raises(UserError, match="vectors"):
        Pair(SMALL, SPACES._replace(observation=Box(0, 255, (8, 8), np.uint8)), [0])
