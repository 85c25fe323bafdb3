"""What the recurrent agent and its model learn: against gradients, scalar loops, and a task."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from spiking_wm.agents.rsnn.actor import Actor, Stream
from spiking_wm.agents.rsnn.actor_and_model import ActorAndModel
from spiking_wm.agents.rsnn.agent import Agent as RSNNAgent
from spiking_wm.agents.rsnn.critic import Critic
from spiking_wm.agents.rsnn.heads import Gaussian, Softmax, head_of
from spiking_wm.agents.rsnn.model import Model
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from test.small_actor_and_model import PLASTIC_INPUTS, SMALL, SPACES, live, random, small


def gaussian(space: Box, deviation: float) -> Gaussian:
    return head_of(SPACES._replace(action=space), deviation)


def test_scores_are_gradients_of_the_log_probability():
    y = random((4, 3))
    actions = np.array([7, 5, 6, 7])
    logits = torch.from_numpy(y).requires_grad_()
    torch.log_softmax(logits, 1)[torch.arange(4), torch.from_numpy(actions - 5)].sum().backward()
    head = Softmax(Discrete(3, start=5))
    assert np.allclose(head.score(y, actions), logits.grad.numpy(), atol=1e-6)
    logits.grad = None
    torch.distributions.Categorical(logits=logits).entropy().sum().backward()
    assert np.allclose(head.entropy_gradient(y), logits.grad.numpy(), atol=1e-6)

    head = gaussian(Box(np.float32([-2, 0, 1]), np.float32([2, 1, 3])), 0.4)
    y *= 3  # many are at the bounds
    actions = head.draw(y, np.random.default_rng(0).random((4, 3)))
    mean, code = torch.from_numpy(y).requires_grad_(), torch.from_numpy(head.code(actions))
    normal = torch.distributions.Normal(mean, 0.4)
    beyond = torch.special.log_ndtr((code.sign() * mean - 1) / 0.4)
    assert (code.abs() < 1).any() and (code == 1).any() and (code == -1).any()
    torch.where(code.abs() < 1, normal.log_prob(code), beyond).sum().backward()
    assert np.allclose(head.score(y, actions), mean.grad.numpy(), atol=1e-4)


def test_actions_follow_their_probabilities_and_stay_in_their_space():
    head, y = Softmax(Discrete(3)), np.float32([[0.0, 1.0, 2.0]])
    drawn = head.draw(y.repeat(4000, 0), np.random.default_rng(0).random((4000, 1)))
    assert np.allclose(np.bincount(drawn, minlength=3) / 4000, head.probabilities(y)[0], atol=0.03)
    assert head.greedy(y) == [2]
    space = Box(np.float32([-2]), np.float32([1]))
    head = gaussian(space, 3.0)
    drawn = head.draw(np.zeros((50, 1), np.float32), np.random.default_rng(0).random((50, 1)))
    assert all(space.contains(action) for action in drawn) and len({float(a[0]) for a in drawn}) > 5
    narrow = gaussian(Box(np.float32([-2]), np.float32([2])), 0.1)
    drawn = narrow.draw(np.full((4000, 1), 0.5, np.float32), np.random.default_rng(0).random((4000, 1)))
    assert np.allclose([drawn.mean(), drawn.std()], [1.0, 0.2], atol=0.01)
    with pytest.raises(UserError, match="bounded"):
        gaussian(Box(-np.inf, np.inf, (2,)), 0.3)


def test_without_a_baseline_the_rule_is_the_gradient_of_the_expected_return():
    """Equation 7, by automatic differentiation of what is read out of the same spikes."""
    o = small(
        critic_baseline=False, actor_trace_decay=1.0, discount=0.9, policy_scale=0.3, policy_sharpness=2.0
    )
    actor, head, steps = Actor([np.random.default_rng(0)], 3, 2, o), Softmax(Discrete(2)), 40
    stream, inputs, rewards = Stream(actor), random((steps, 1, 3)), random((steps, 1), 1)
    policy = torch.from_numpy(actor.policy[0].copy()).requires_grad_()
    spikes, chosen = [], []
    for x, reward in zip(inputs, [np.zeros(1, np.float32), *rewards]):
        outputs = stream.see(x, reward)
        chosen.append(head.draw(outputs, np.random.default_rng(len(chosen)).random((1, 1))))
        stream.choose(head.score(outputs, chosen[-1]))
        spikes.append(stream.activity.readout[0].copy())
    stream.end(rewards[-1])
    returns = [sum(0.9 ** (k - t) * rewards[k, 0] for k in range(t, steps)) for t in range(steps)]
    log_policy = torch.log_softmax(torch.from_numpy(np.stack(spikes)) @ policy * 2.0, 1)
    taken = log_policy[torch.arange(steps), torch.from_numpy(np.concatenate(chosen))]
    (taken * torch.tensor(returns)).sum().backward()
    # the factor of the read-out is left to the learning rate
    assert np.allclose(2.0 * stream.traces["policy"].take()[0], policy.grad.numpy(), atol=1e-3)
    assert policy.grad.abs().max() > 0.1


def test_with_a_baseline_credit_is_the_temporal_difference_by_scalar_loops():
    o = small(discount=0.9, actor_trace_decay=0.8, policy_scale=0.3, actor_input_lr=0.01)
    actor = Actor([np.random.default_rng(0)], 3, 2, o)
    actor.value[:] = random(actor.value.shape, 2)
    stream, inputs, rewards, directions = (
        Stream(actor),
        random((30, 1, 3)),
        random(30, 1),
        random((30, 1, 2), 3),
    )
    trace, expected = np.zeros((20, 20)), np.zeros((20, 20))
    input_trace, input_expected = np.zeros((2, 6, 20))
    before = after = 0.0

    def credit(delta: float) -> None:
        nonlocal expected, input_expected
        expected = expected + delta * trace
        input_expected = input_expected + delta * input_trace

    for t, x in enumerate(inputs):
        stream.see(x, rewards[t - 1 : t] if t else np.zeros(1, np.float32))
        a = stream.activity
        after = float(a.readout[0] @ actor.value[0, :, 0])
        if t:
            credit(rewards[t - 1] + 0.9 * after - before)
        before = after
        stream.choose(directions[t])
        learning = (directions[t, 0] @ actor.policy[0].T) * a.derivative[0]
        trace = 0.9 * 0.8 * trace + np.outer(a.trace[0], learning)
        input_trace = 0.9 * 0.8 * input_trace + np.outer(a.input_trace[0], learning)
    stream.end(rewards[-1:])
    credit(rewards[-1] - before)
    for name, sums in (("recurrent", expected), ("input", input_expected)):
        assert np.allclose(stream.traces[name].take()[0], sums, atol=1e-4) and np.abs(sums).max() > 0.01


def test_a_critic_learns_by_temporal_differences_while_an_episode_goes_on_by_scalar_loops():
    o = small(critic_neurons=12, critic_trace_decay=0.8, discount=0.9, critic_lr=0.05, critic_input_lr=0.1)
    critic = Critic([np.random.default_rng(1)], 3, o)
    stream = Stream(Actor([np.random.default_rng(0)], 3, 2, o, critic))
    critic.readout[:] = random(critic.readout.shape, 2)
    inputs, rewards, traces, sums = random((40, 1, 3)), random(40, 1), {}, {}
    before, synapses = 0.0, critic.network.input_weights[0] != 0
    critic.learn = lambda gradients: None  # values stay as they are, so that loops can follow
    for t, x in enumerate(inputs):
        stream.see(x, rewards[t - 1 : t] if t else np.zeros(1, np.float32))
        a, value = stream.critic_activity, float(stream.critic_activity.readout[0] @ critic.readout[0, :, 0])
        for name in traces:
            sums[name] = sums.get(name, 0) + (rewards[t - 1] + 0.9 * value - before) * traces[name]
        before = value
        stream.choose(np.zeros((1, 2), np.float32))
        now = {
            "value": a.readout[0][:, None].astype(float),
            "critic_input": np.outer(a.input_trace[0], critic.readout[0, :, 0] * a.derivative[0]),
        }
        traces = {name: 0.9 * 0.8 * traces.get(name, 0) + factor for name, factor in now.items()}
    taken = {name: stream.take(name)[0].copy() for name in critic.learned()}
    for name, expected in sums.items():
        assert np.allclose(taken[name], expected, atol=1e-4) and np.abs(expected).max() > 0.1, name
    assert 0 < synapses.mean() < 1
    del critic.learn
    weights = critic.network.input_weights[0].copy()
    critic.learn({name: taken[name][None] for name in taken})
    moved = critic.network.input_weights[0] - weights
    assert moved[synapses].any() and not moved[~synapses].any()
    assert "value" not in stream._actor.learned()


def test_what_is_imagined_teaches_a_critic_nothing():
    networks = ActorAndModel(small(critic_neurons=12, critic_every=5, policy_scale=0.1), SPACES, [0])
    live(networks, 38)
    before = networks.snapshot()
    networks.dream()
    after = networks.snapshot()
    assert all(torch.equal(after[n], before[n]) for n in after if n.startswith(("critic", "awake")))
    assert not torch.equal(after["actor/policy"], before["actor/policy"])
    assert before["critic/value"].any()


def test_the_policy_s_read_out_also_climbs_what_is_learned_whatever_comes_of_it():
    o = small(policy_scale=0.3)
    actor, head = Actor([np.random.default_rng(0)], 3, 2, o), Softmax(Discrete(2))
    stream, policy = Stream(actor), torch.from_numpy(actor.policy[0].copy()).requires_grad_()
    entropy = 0.0
    for x in random((40, 1, 3)):
        outputs = stream.see(x, np.zeros(1, np.float32))
        stream.choose(np.zeros((1, 2), np.float32), np.float32(0.7) * head.entropy_gradient(outputs))
        spikes = torch.from_numpy(stream.activity.readout[0].copy())
        entropy = entropy + torch.distributions.Categorical(logits=spikes @ policy).entropy()
    (0.7 * entropy).backward()
    assert np.allclose(stream.take("policy")[0], policy.grad.numpy(), atol=1e-4)
    assert policy.grad.abs().max() > 0.1


def test_values_are_learned_before_the_policy():
    networks = ActorAndModel(small(policy_learn_after=60), SPACES, [0])
    before = {name: array.copy() for name, array in networks.actor.learned().items()}
    live(networks, 60)
    assert np.array_equal(networks.actor.policy, before["policy"]) and not networks.can_dream
    others = ~np.eye(20, dtype=bool)
    assert np.array_equal(networks.actor.network.weights * others, before["recurrent"] * others)
    assert networks.actor.value.any()
    live(networks, 40)
    assert networks.actor.policy.any() and networks.can_dream


def test_input_weights_learn_and_synapses_that_there_are_not_stay_away():
    networks = ActorAndModel(small(**PLASTIC_INPUTS), SPACES, [0])
    both = (networks.actor.network, networks.model.network)
    before = [network.input_weights.copy() for network in both]
    live(networks, 100)
    for network, weights in zip(both, before):
        assert 0.2 < (weights == 0).mean() < 0.7
        assert np.array_equal(network.input_weights == 0, weights == 0)
        assert np.abs(network.input_weights - weights).max() > 0.005


def test_choices_grow_sharper_and_are_learned_the_slower():
    def step(sharpest: float) -> tuple[ActorAndModel, np.ndarray]:
        networks = ActorAndModel(
            small(policy_sharpen_time=40, policy_sharpest=sharpest, world_model=False), SPACES, [0]
        )
        live(networks, 199)
        policy, value = networks.actor.policy.copy(), networks.actor.value.copy()
        for adam in networks.actor.adams.values():  # so that the next step is of the size of its rate
            for array in adam.state().values():
                array[...] = 0
        networks.learn()
        return networks, [
            np.abs(networks.actor.policy - policy).max(),
            np.abs(networks.actor.value - value).max(),
        ]

    (constant, (policy, value)), (sharp, (slower, as_fast)) = step(1.0), step(4.0)
    assert constant.actor.sharpness == 1.0 and sharp.actor.sharpness == 4.0
    assert slower == pytest.approx(policy / 4, rel=0.01) and as_fast == pytest.approx(value, rel=0.01)
    agent = RSNNAgent(small(policy_sharpen_time=40), SPACES, 0)
    agent.networks.actor.sharpen(60)
    assert agent.policy_weights()["sharpness"] == 2.5
    box = SPACES._replace(action=Box(-1, 1, (1,), np.float32))
    networks = ActorAndModel(small(policy_sharpen_time=40), box, [0])
    networks.learn()
    assert networks.actor.sharpness == 1.0  # means do not grow


def test_policies_may_learn_in_dreams_alone_and_models_stop():
    """Figures 2D and 2E of the paper."""
    networks = ActorAndModel(small(policy_learn_awake=False, model_stop_after=60), SPACES, [0])
    networks.dream = lambda: {}
    live(networks, 59)
    assert not networks.actor.policy.any() and networks.actor.value.any()
    ActorAndModel.dream(networks)
    assert networks.actor.policy.any()
    live(networks, 1)
    stopped = {name: array.copy() for name, array in networks.model.network.state().items()}
    change, error = networks.model.change.copy(), networks.model.error.copy()
    live(networks, 50)
    assert all(np.array_equal(array, stopped[name]) for name, array in networks.model.network.state().items())
    assert np.array_equal(networks.model.change, change)
    assert not np.array_equal(networks.model.error, error)  # it is judged all the same


def test_what_rests_for_long_may_move_again():
    """A change is judged by the size of changes, not by how rare they are."""
    model = Model([np.random.default_rng(0)], 1, 2, SMALL)
    at = np.zeros((1, 1), np.float32)

    def move(by: float) -> float:
        return float(model._in_units(np.full_like(at, by))[0, 0])

    for step in range(40):
        move(0.1 if step % 2 else -0.1)
    for _ in range(5000):
        move(0.0)
    assert move(0.1) == pytest.approx(1.0, rel=0.05)
    assert move(5.0) == 0.0  # a new start


def log_probability(change: torch.Tensor, outputs: torch.Tensor, bins: int) -> torch.Tensor:
    """Of changes in units: of a normal distribution, or of bins within 2 units of no change."""
    if not bins:
        return -0.5 * (change - outputs).square().sum()
    axis = torch.linspace(-2, 2, bins)
    distance = (axis - change.clamp(-2, 2)[:, None]) / (axis[1] - axis[0])
    actual = torch.softmax(-0.5 * distance.square(), 1)
    return (actual * torch.log_softmax(outputs.reshape(3, bins), 1)).sum()


@pytest.mark.parametrize("bins", [0, 9])
def test_the_model_s_read_outs_learn_by_the_gradient_of_what_they_predict(bins):
    """Equations 4 and 5; bins in the place of means."""
    o = small(
        model_bins=bins,
        model_bin_reach=2.0,
        model_change_unit=0.5,
        model_max_change=1e9,
        model_reward_decay=0.3,
        model_every=1000,
    )
    model = Model([np.random.default_rng(0)], 3, 2, o)
    model.change[:], model.reward[:] = random(model.change.shape, 1), random(model.reward.shape, 2)
    observation, codes, rewards = random((31, 1, 3), 3), random((30, 1, 2), 4), random((30, 1), 5)
    change = torch.from_numpy(model.change[0].copy()).requires_grad_()
    reward = torch.from_numpy(model.reward[0].copy()).requires_grad_()
    loss, remembered = 0.0, 0.0
    for x, following, code, r in zip(observation, observation[1:], codes, rewards):
        prediction = model.predict(model.activity, x, code, learning=True)
        spikes = torch.from_numpy(model.activity.readout[0].copy())
        remembered = 0.3 * remembered + float(r[0])
        target = torch.from_numpy((following - x)[0] / 0.5)
        loss = loss - log_probability(target, spikes @ change, bins)
        loss = loss + 0.5 * (remembered - (spikes @ reward)[0]).square()
        model.correct(prediction, x, following, r)
    loss.backward()
    assert np.allclose(model.traces["change"].take()[0], -change.grad.numpy(), atol=1e-3)
    assert np.allclose(model.traces["reward"].take()[0], -reward.grad.numpy(), atol=1e-3)


def cue_task(options: Options, games: int = 120) -> np.ndarray:
    """Answer with the side on which a cue was shown three steps ago; returns by game of 4 seeds."""
    spaces = Spaces(Box(-1, 1, (2,), np.float32), Discrete(2), 0.1)
    networks, returns = ActorAndModel(options, spaces, range(4)), []
    for game in range(games):
        won = np.zeros(4, np.float32)
        for trial in range(5):
            side = np.random.default_rng([game, trial]).integers(2, size=4)
            for step in range(4):
                shown = np.where(step == 0, 2 * side - 1, 0)
                observation = np.stack([shown, np.full(4, step == 3)], 1).astype(np.float32)
                outputs = networks.see(observation)
                moment = (game * 5 + trial) * 4 + step
                drawn = [np.random.default_rng([s, moment]).random(1) for s in range(4)]
                actions = networks.head.draw(outputs, np.stack(drawn))
                networks.choose(actions)
                right = np.float32(2 * (actions == side) - 1) * (step == 3)
                won += right
                networks.follow(np.zeros_like(observation), right, False, step == 3 and trial == 4)
        returns.append(won)
        networks.learn()
    return np.stack(returns)


def test_it_learns_to_answer_by_what_it_saw_before():
    neurons = {"actor_neurons": 150, "actor_input_scale": 6.0, "actor_transient": 0.0, "policy_entropy": 0.0}
    rates = {"actor_lr": 0.003, "discount": 0.97, "actor_trace_decay": 0.5}
    returns = cue_task(small(**neurons, **rates))
    assert np.abs(returns[:15].mean()) < 1.5  # by chance at the start
    assert returns[-20:].mean() > 4  # of 5
