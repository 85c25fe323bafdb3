"""Agent and model network together: realisations side by side, memory, dreams, constants."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from spiking_wm.agents.rsnn.actor_and_model import ActorAndModel
from spiking_wm.agents.rsnn.inputs import Inputs
from spiking_wm.agents.rsnn.model import Prediction
from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import algorithms, resolve
from test.small_actor_and_model import PLASTIC_INPUTS, SMALL, SPACES, live, random, small


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"plan_steps": 2},
        {"dream_max_error": 2.0},
        {"critic_baseline": False},
        {"dream_batch": 3},
        PLASTIC_INPUTS,
        PLASTIC_INPUTS | {"actor_curves": 7, "model_curves": 5},
        PLASTIC_INPUTS | {"actor_curves": 7, "actor_pairs": 5, "model_pairs": 4, "model_change_curves": 5},
        {"critic_neurons": 15, "critic_every": 5, "dream_batch": 3},
        {"critic_neurons": 15, "plan_steps": 2, "model_min_acceleration": 0.3},
        {"model_bins": 11, "dream_batch": 3},
    ],
)
def test_realisations_side_by_side_are_what_each_is_alone(changes):
    o = small(policy_scale=0.1, dream_horizon=12, dream_starts=3, **changes)
    together, alone = ActorAndModel(o, SPACES, [4, 5, 6]), ActorAndModel(o, SPACES, [5])
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
    networks = ActorAndModel(SMALL, SPACES, [0, 1])
    live(networks, 100)
    before = sum(value.nbytes for value in networks.snapshot().values())
    live(networks, 1000, episode=500)
    assert sum(value.nbytes for value in networks.snapshot().values()) == before


def test_a_dream_begins_in_a_remembered_moment_and_leaves_the_waking_state_alone():
    networks = ActorAndModel(small(dream_horizon=8, dream_starts=4), SPACES, [0])
    live(networks, 90)
    seen = []
    predict = networks.model.predict
    networks.model.predict = lambda activity, inputs, code: (
        seen.append(inputs.copy()) or predict(activity, inputs, code)
    )
    before = networks.snapshot()
    report = networks.dream()
    assert any(np.array_equal(seen[0][0], moment[0]) for moment in networks.imagination.moments.inputs)
    assert len(seen) == 8 and report["dream_length"] == 8
    changed = {name for name, value in networks.snapshot().items() if not torch.equal(value, before[name])}
    assert {name.split("/")[0] for name in changed} <= {"actor", "imagined", "dreams"}
    assert "actor/policy" in changed


def test_dreams_side_by_side_are_one_update_up_the_sum_of_what_each_gives():
    def gradients(together: int) -> dict[str, np.ndarray]:
        networks = ActorAndModel(
            small(dream_batch=together, dream_horizon=5, policy_scale=0.1), SPACES, [0, 1]
        )
        live(networks, 15)
        assert networks.dreams == 0
        networks.actor.value[:] = random(networks.actor.value.shape)
        given = []
        networks.actor.learn = lambda stream, dreamed: given.append(
            {n: stream.take(n).copy() for n in networks.actor.learned()}
        )
        for _ in range(6 // together):
            networks.dream()
        assert networks.dreams == 6 and len(given) == 6 // together
        return {name: sum(update[name] for update in given) for name in given[0]}

    alone, abreast = gradients(1), gradients(6)
    for name, value in alone.items():
        assert np.allclose(abreast[name], value, atol=1e-4) and np.abs(value).max() > 0.01, name


def test_dreams_learn_at_a_rate_of_their_own_and_repeat_nothing_of_waking():
    def moved(rate: float) -> float:
        networks = ActorAndModel(small(dream_rate=rate, policy_scale=0.1), SPACES, [0])
        live(networks, 18)
        networks.actor.adams["policy"].mean[:] = 1e3  # of what was learned awake
        before = networks.actor.policy.copy()
        networks.dream()
        return np.abs(networks.actor.policy - before).max()

    whole, half = moved(1.0), moved(0.5)
    assert half == pytest.approx(whole / 2, rel=0.01) and 0 < whole < 0.011
    assert moved(0.0) > 1  # one Adam for both


def test_dreams_do_not_climb_entropy():
    def dreamed(entropy: float) -> torch.Tensor:
        networks = ActorAndModel(small(policy_entropy=entropy, policy_scale=0.1), SPACES, [0])
        networks.restore(lived)
        networks.dream()
        return networks.snapshot()["actor/policy"]

    networks = ActorAndModel(small(policy_scale=0.1), SPACES, [0])
    live(networks, 18)
    lived = networks.snapshot()
    assert torch.equal(dreamed(0.0), dreamed(5.0))
    assert not torch.equal(dreamed(0.0), lived["actor/policy"])


def test_unbounded_inputs_reach_as_far_as_bounded_ones():
    inputs = Inputs(Box(-np.inf, np.inf, (1,), np.float32), 1, scaled=True)
    for value in np.random.default_rng(0).normal(7.0, 3.0, 4000):
        inputs.update(np.float32([[value]]))
    assert inputs(np.float32([[2.0]])) == 2.0  # as it is, until they are refreshed
    inputs.refresh()
    seen = inputs(np.float32([[7.0], [13.0], [1.0], [1e6]]))
    assert np.allclose(seen[:, 0], [0, 1, -1, 2.5], atol=0.1)


def test_fewer_dreams_than_stand_side_by_side_give_what_they_give():
    def weights(together: int) -> dict[str, torch.Tensor]:
        networks = ActorAndModel(small(dream_batch=together, dream_horizon=5, policy_scale=0.1), SPACES, [0])
        live(networks, 15)
        networks.dream(2)
        assert networks.dreams == 2
        return networks.snapshot()

    few, many = weights(2), weights(7)
    assert all(torch.allclose(few[name], many[name], atol=1e-5) for name in few)


@pytest.mark.parametrize("learned", [True, False])
def test_values_are_learned_in_dreams_only_where_that_is_asked_for(learned):
    networks = ActorAndModel(small(dream_learn_values=learned, policy_scale=0.1), SPACES, [0])
    live(networks, 38)
    value, policy = networks.actor.value.copy(), networks.actor.policy.copy()
    networks.actor.adams["value"].mean[:] = 0  # or Adam goes on a little by itself
    networks.dream()
    assert np.array_equal(networks.actor.value, value) != learned
    assert not np.array_equal(networks.actor.policy, policy)


def test_dreams_are_clipped_and_shrink_with_the_model_s_error():
    networks = ActorAndModel(small(dream_horizon=10, dream_max_error=1.0), SPACES, [0])
    live(networks, 40)
    networks.model.change[:] = 50 * random(networks.model.change.shape)
    seen, predict = [], networks.model.predict
    networks.model.predict = lambda activity, inputs, code: (
        seen.append(inputs.copy()) or predict(activity, inputs, code)
    )
    networks.model.error[:], networks.model.no_change_error[:] = 0.7, 1.0
    assert networks.dream()["dream_length"] == 3
    assert np.abs(np.stack(seen)).max() == 1.0
    networks.model.error[:] = 5.0
    assert networks.dream()["dream_length"] == 1
    unclipped = ActorAndModel(small(dream_horizon=10, dream_clip=False), SPACES, [0])
    live(unclipped, 40)
    unclipped.model.change[:] = 50 * random(networks.model.change.shape)
    seen, predict = [], unclipped.model.predict
    unclipped.model.predict = lambda activity, inputs, code: (
        seen.append(inputs.copy()) or predict(activity, inputs, code)
    )
    unclipped.dream()
    assert np.abs(np.stack(seen)).max() > 2.0


def test_a_reward_may_end_what_is_imagined_and_what_follows_is_worth_what_it_was_awake():
    o = small(
        dream_horizon=6,
        dream_terminal_reward=0.5,
        model_reward_decay=0.0,
        discount=0.9,
        actor_trace_decay=0.0,
    )
    networks, met = ActorAndModel(o, SPACES, [0]), []
    see = networks.awake.see

    def watch(inputs, reward):
        outputs = see(inputs, reward)
        if reward[0] > 0:
            met.append(float(networks.awake.value[0]))
        return outputs

    networks.awake.see = watch
    networks.actor.value[:] = random(networks.actor.value.shape)
    live(networks, 24)  # one episode
    assert len(met) >= 3 and np.std(met) > 0
    assert networks.end_values[0] == pytest.approx([0, np.mean(met)], abs=1e-6)
    rewards = iter([0.1, 0.2, 1.0, 5.0, 5.0, 5.0])
    networks.model.after = lambda inputs, prediction: (inputs, np.full(1, next(rewards), np.float32))
    credited, credit = [], networks.imagination.dreamed._credit
    networks.imagination.dreamed._credit = lambda target: (
        credited.append((float(target[0]), bool(networks.imagination.dreamed.alive[0]))) or credit(target)
    )
    assert networks.dream()["dream_return"] == pytest.approx(1.3)
    assert [alive for _, alive in credited] == [True, True, True, False, False, False]
    assert credited[2][0] == pytest.approx(1 + 0.9 * np.mean(met))
    assert credited[1][0] != pytest.approx(0.2)  # which is followed by a value


def test_an_imagined_reward_that_is_too_small_is_none():
    model = ActorAndModel(small(dream_min_reward=0.3), SPACES, [0, 1, 2]).model
    still = np.zeros((3, 3), np.float32)
    _, reward = model.after(still, Prediction(still, still, np.float32([0.29, -0.31, 0.5]), still))
    assert reward == pytest.approx([0, -0.31, 0.5])


def test_a_change_goes_on_as_it_is_unless_it_is_to_differ_by_enough():
    model = ActorAndModel(small(model_min_acceleration=0.5, model_change_unit=0.1), SPACES, [0]).model
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
    published = resolve("rsnn_published_code", "PongRam-v0", {}).agent_options
    differ = [(o.discount, o.actor.reset, o.neuron.rest, o.actor.input_scale) for o in (paper, published)]
    assert differ == [(0.99, 20, -4, 5), (0.998, 100, -8, 10)]
    for o in (paper, published):
        assert (o.actor.membrane_time, o.neuron.synapse_time) == (6, 4)
        assert not o.critic.baseline and not o.scale_inputs and not o.dream.clip
        assert not (o.actor.pairs or o.model.pairs or o.critic.neurons or o.model.min_acceleration)
    assert {"rsnn", "rsnn_dream", "rsnn_plan"} <= set(algorithms())


def test_pixels_are_refused_by_name():
    with pytest.raises(UserError, match="vectors"):
        ActorAndModel(SMALL, SPACES._replace(observation=Box(0, 255, (8, 8), np.uint8)), [0])
