"""Deep Q-learning: targets, exploration, what is released, and dreams."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from spiking_wm.agents.dqn.agent import Agent
from spiking_wm.agents.dqn.options import Options
from spiking_wm.agents.dqn.policy import QPolicy
from spiking_wm.core.contract import Budget, Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.options import override
from spiking_wm.training.session import Session

SMALL = {
    "network_hidden": 16,
    "warmup": 10,
    "batch": 8,
    "epsilon_steps": 100,
    "conversion_calibration": 32,
    "replay_size": 2000,
}


def agent(seed: int = 0, env: str = "CartPole-v1", **options) -> Agent:
    return Agent(override(Options(), SMALL | options), Session(env, 0, 100).spaces, seed)


def walk(steps: int, **how) -> list[Transition]:
    """Transitions in which everything is drawn."""
    rng, seen = np.random.default_rng(0), [np.zeros(4, np.float32)]
    for step in range(steps):
        seen.append(rng.normal(size=4).astype(np.float32))
        action, reward = np.asarray(rng.integers(2)), float(rng.normal() * 3)
        yield Transition(seen[-2], action, reward, seen[-1], False, False, 0, step, 0)._replace(**how)


@pytest.mark.parametrize("spiking", [True, False])
@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize("ending", ["none", "terminated", "truncated", "life_lost"])
def test_the_loss_is_that_of_targets_computed_by_hand(spiking, double, n_steps, ending):
    """A truncated step bootstraps, a terminated one and a lost life do not."""
    a = agent(spiking=spiking, double=double, target_every=1000, n_steps=n_steps)
    for transition in walk(30, **({} if ending == "none" else {ending: True})):
        a.observe(transition)
    a.learn()  # networks differ from here on
    rows = a.replay.sample(8, torch.Generator().set_state(a._generator.get_state()))
    batch, network, target = a.replay.at(rows, n_steps, 0.99), a.network, a.target
    expected = []
    with torch.no_grad():
        for k in range(8):
            values = target(batch.next_observation[k : k + 1])[0]
            chosen = network(batch.next_observation[k : k + 1])[0].argmax() if double else values.argmax()
            follows = 0.0 if ending in ("terminated", "life_lost") else batch.weight[k] * values[chosen]
            if ending != "none" and follows:  # each of these steps is an episode's last
                assert batch.weight[k] == pytest.approx(0.99)
            value = float(network(batch.observation[k : k + 1])[0, batch.action[k]])
            goal = float(batch.reward[k] + follows)
            expected.append(float(F.smooth_l1_loss(torch.tensor(value), torch.tensor(goal))))
    assert a.learn()["value_loss"] == pytest.approx(np.mean(expected), rel=1e-4)


def test_small_gradients_step_less_by_a_larger_epsilon():
    """Adam's first step is ``lr g / (|g| + epsilon)``."""
    a = agent(adam_epsilon=0.01, spiking=False)
    for transition in walk(30):
        a.observe(transition)
    before = a.network.readout.weight.detach().clone()
    a.learn()
    gradient, step = a.network.readout.weight.grad, before - a.network.readout.weight.detach()
    torch.testing.assert_close(step, a.options.lr * gradient / (gradient.abs() + 0.01), rtol=1e-4, atol=1e-7)
    assert float(gradient.abs().min()) < 0.01  # else it would be no other than without


def test_rewards_are_clipped_only_if_asked_for():
    clipped, plain = agent(), agent(clip_rewards=False)
    for transition in walk(20):
        clipped.observe(transition)
        plain.observe(transition)
    rows = torch.arange(20)
    assert torch.equal(clipped.replay.at(rows).reward, plain.replay.at(rows).reward.sign())
    assert float(plain.replay.at(rows).reward.abs().max()) > 1


def test_the_target_follows_by_copies():
    a = agent(target_every=3)
    for transition in walk(30):
        a.observe(transition)
    moved = []
    for _ in range(7):
        before = a.target.hidden.weight.clone()
        a.learn()
        moved.append(not torch.equal(before, a.target.hidden.weight))
    assert moved == [True, False, False, True, False, False, True]


def test_random_actions_become_rarer():
    a = agent(warmup=10, epsilon_start=0.9, epsilon_end=0.1, epsilon_steps=100)
    found = {}
    for transition in walk(200):
        found[a.steps] = a.epsilon
        a.observe(transition)
    assert found[0] == found[9] == 1.0
    assert found[10] == pytest.approx(0.9)
    assert found[60] == pytest.approx(0.5)
    assert found[110] == found[199] == pytest.approx(0.1)


def shares(policy: QPolicy, evaluation: bool, best: int, count: int = 2000) -> float:
    """How often an action other than the best is taken."""
    observation, state, others = np.ones(4, np.float32), policy.initial_state(), 0
    for step in range(count):
        rng = None if evaluation else Exploration(3).at(step)
        action, state = policy.act(observation, state, rng)
        others += int(action) != best
    return others / count


def test_every_game_of_an_evaluation_has_random_actions_of_its_own():
    a = agent(epsilon_evaluation=1.0)
    policy = QPolicy(a.options, a.spaces)
    policy.load(a.policy_weights())

    def game(episode: int) -> list[int]:
        state, actions, observation = policy.initial_state(episode), [], np.ones(4, np.float32)
        for _ in range(30):
            action, state = policy.act(observation, state, None)
            actions.append(int(action))
        return actions

    assert game(3) == game(3) != game(4)


def test_acts_at_random_as_often_as_released_and_in_evaluations_as_often_as_published():
    a = agent(epsilon_start=0.5, epsilon_steps=10_000_000, epsilon_evaluation=0.1)
    for transition in walk(11):
        a.observe(transition)
    policy = QPolicy(a.options, a.spaces)
    policy.load(a.policy_weights())
    best = int(policy.network(torch.ones(1, 4)).argmax())
    assert shares(policy, False, best) == pytest.approx(
        0.25, abs=0.03
    )  # half of them take the other one of two
    assert shares(policy, True, best) == pytest.approx(0.05, abs=0.02)
    assert shares(policy, True, best) == shares(policy, True, best)


def played(a: Agent, env: str, steps: int) -> list[Transition]:
    """Steps at random, which the agent observes."""
    session, policy, exploration = Session(env, 0, steps), QPolicy(a.options, a.spaces), Exploration(0)
    policy.load(a.policy_weights())
    for step in range(steps):
        action, _ = policy.act(session.pending()[0].observation, policy.initial_state(), exploration.at(step))
        (transition,) = session.apply([action], 1)
        a.observe(transition)
        yield transition


def test_a_converted_network_explores_by_relu_and_is_judged_by_spikes():
    env, network = "minatar/Breakout-v0", {"network": {"channels": [4], "kernels": [3], "strides": [1]}}
    a = agent(env=env, spiking=False, converted=True, conversion_ticks=8, epsilon_evaluation=0.0, **network)
    seen = [transition.observation for transition in played(a, env, 200)][::4]
    for _ in range(50):
        a.learn()
    policy = QPolicy(a.options, a.spaces)
    policy.load(a.policy_weights())
    with torch.no_grad():
        dense, spiking = (
            [net(torch.as_tensor(x)[None]) for x in seen] for net in (policy.network, policy.greedy_network)
        )
    assert not any(torch.equal(x, y) for x, y in zip(dense, spiking))
    assert torch.corrcoef(torch.stack([torch.cat(dense).ravel(), torch.cat(spiking).ravel()]))[0, 1] > 0.9
    for x, values in zip(seen, spiking):
        assert int(policy.act(x, policy.initial_state(), None)[0]) == int(values.argmax())
    one, two = a.policy_weights(), a.policy_weights()
    assert torch.equal(one["converted/hidden.weight"], two["converted/hidden.weight"])


def test_the_network_is_scaled_to_what_is_seen_before_the_first_update():
    a = agent()
    for transition in walk(100):
        a.observe(transition)
    before = a.network.hidden.weight.detach().clone()
    a.learn()
    ratio = a.network.hidden.weight.detach() / before
    assert float((ratio - ratio.median()).abs().median()) < 0.01  # one factor, and one small step
    assert abs(float(ratio.median()) - 1) > 0.01


def dreamer(**options) -> Agent:
    a = agent(world_model=True, model_every=1, **options)
    for transition in walk(900):
        a.observe(transition)
    for _ in range(60):
        a.learn()
    return a


def test_dreams_teach_the_readout_and_touch_neither_model_nor_memory():
    a = dreamer()
    before = a.snapshot()
    progress = list(a.dream(Budget(rollouts=100)))
    after = a.snapshot()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert progress[-1].rollouts == 100
    assert {"network/readout.weight", "network/readout.bias"} <= changed
    assert not {x for x in changed if x.startswith(("replay", "dynamics", "target", "network/hidden"))}


def test_the_goal_of_an_imagined_step_is_the_models():
    a = dreamer()
    features = a.network.features(a.replay.at(torch.arange(10, 20)).observation).detach()
    state, alive = a._generator.get_state(), torch.tensor([1.0] * 5 + [0.0] * 5)
    action = torch.randint(2, (10,), generator=torch.Generator().set_state(state))
    with torch.no_grad():
        step, losses = a.dynamics.model(features, action), []
    for k in range(10):
        value = a.network.values(features)[k, action[k]]
        best = float(a.network.values(step.features)[k].max().detach())
        follows = float(1 - step.final[k].sigmoid()) * best
        goal = step.reward[k] + 0.99 * follows
        losses.append(float(alive[k]) * float(F.smooth_l1_loss(value, goal).detach()))
    _, still, metrics = a._imagine(a.dynamics.model, a.network, features, alive)
    assert metrics["imagined_value_loss"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert torch.equal(still[5:], torch.zeros(5)) and bool((still[:5] < 1).all())


def test_the_model_learns_what_follows():
    """CartPole's next state follows from this one; its error is less than no change's on what is held out."""
    a = agent(world_model=True, network_hidden=32, model_every=1)
    assert len(list(played(a, "CartPole-v1", 1500))) == 1500
    for _ in range(400):
        a.learn()
    errors = a.model_error()
    assert errors["model_error_1_step"] < 0.9
    segment = a.dream_against_reality()
    assert {name: x.shape for name, x in segment.items()} == {"real": (15, 2), "dream": (15, 2)}


def test_refuses_what_it_cannot_drive():
    with pytest.raises(UserError, match="discrete"):
        agent(env="InvertedPendulum-v5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"converted": True}, "spiking:=false"),
        ({"converted": True, "spiking": False, "network_spiking_output": True}, "spiking_output:=false"),
        ({"network_kernels": (3,)}, "each layer"),
        ({}, "too small"),
    ],
)
def test_refuses_networks_that_cannot_be(options, message):
    with pytest.raises(UserError, match=message):
        agent(env="minatar/Breakout-v0", **options)
