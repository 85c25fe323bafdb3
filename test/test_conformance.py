"""What every algorithm must do; registered algorithms are found by name."""

import numpy as np
import pytest
import torch

from spiking_wm.core.contract import Budget, Transition
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.options import canonical, known, values
from spiking_wm.core.presets import algorithms, resolve
from spiking_wm.core.registry import agent_class
from spiking_wm.training.session import Session
from test.conftest import TINY, env_for

SMALL = TINY | {
    "dataset": "",
    "rollout": 20,
    "neurons": 40,
    "horizon": 5,
    "value_first": 0,
    "size": "tiny",
    "length": 10,
    "starts": 8,
}

pytestmark = pytest.mark.parametrize("algorithm", algorithms())


def make(algorithm: str, seed: int = 0):
    """An agent with options small enough to test, and a session of its environment."""
    env = env_for(algorithm)
    options = type(resolve(algorithm, env, {}).agent_options)
    small = {name: value for name, value in SMALL.items() if canonical(options, name)}
    setup = resolve(algorithm, env, small)
    session = Session(env, seed, steps=10_000)
    return agent_class(setup.agent)(setup.agent_options, session.spaces, seed), session


def policy_of(agent, session):
    policy = agent.policy_class(agent.options, session.spaces)
    policy.load(agent.policy_weights())
    return policy


def experience(agent, session, steps: int) -> list[Transition]:
    """Let the agent act and observe for some steps."""
    policy, exploration, seen = policy_of(agent, session), Exploration(0), []
    state = policy.initial_state()
    for _ in range(steps):
        pending = session.pending()
        if pending.episode_step == 0:
            state = policy.initial_state()
        action, state = policy.act(pending.observation, state, exploration.at(pending.step))
        seen.append(session.apply(action, 1))
        agent.observe(seen[-1])
    return seen


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_acts_within_the_space_and_the_greedy_action_is_a_function_of_the_observations(algorithm):
    agent, session = make(algorithm)
    experience(agent, session, 60)
    first, second = policy_of(agent, session), policy_of(agent, session)
    states = [first.initial_state(), second.initial_state()]
    for _ in range(20):
        observation = session.pending().observation
        one, states[0] = first.act(observation, states[0], None)
        two, states[1] = second.act(observation, states[1], None)
        np.testing.assert_array_equal(one, two)
        session.apply(one, 1)  # refuses an action outside the space


def test_exploration_comes_from_the_given_generator_alone(algorithm):
    agent, session = make(algorithm)
    policy, observation = policy_of(agent, session), session.pending().observation
    np.random.seed(0)
    torch.manual_seed(0)
    one, two, other = (
        [policy.act(observation, policy.initial_state(), Exploration(5).at(k))[0] for k in steps]
        for steps in (range(7), range(7), range(8, 15))
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_learning_changes_the_policy_and_released_weights_are_copies(algorithm):
    agent, session = make(algorithm)
    experience(agent, session, 60)
    before = agent.policy_weights()
    kept = {name: value.clone() for name, value in before.items()}
    for _ in range(4):
        assert all(np.isfinite(value) for value in agent.learn().values())
    experience(agent, session, 1)
    assert same(before, kept)
    assert not same(before, agent.policy_weights())


def test_seeds_decide_everything_and_the_global_generator_nothing(algorithm):
    snapshots = []
    for seed, disturbance in ((3, 0), (3, 1), (4, 0)):
        torch.manual_seed(disturbance)
        agent, session = make(algorithm, seed)
        undisturbed = torch.get_rng_state()
        experience(agent, session, 60)
        for _ in range(3):
            agent.learn()
        assert torch.equal(torch.get_rng_state(), undisturbed)
        snapshots.append(agent.snapshot())
    assert same(snapshots[0], snapshots[1])
    assert not same(snapshots[0], snapshots[2])


def test_goes_on_from_a_snapshot_bit_for_bit(algorithm):
    agent, session = make(algorithm)
    experience(agent, session, 60)
    for _ in range(3):
        agent.learn()
    other, _ = make(algorithm, seed=9)
    other.restore(agent.snapshot())
    more = experience(agent, session, 10)
    for transition in more:
        other.observe(transition)
    for learner in (agent, other):
        for _ in range(3):
            learner.learn()
        if learner.can_dream:
            for _ in learner.dream(Budget(rollouts=16)):
                pass
    assert same(agent.snapshot(), other.snapshot())


def test_dreams_within_its_budget_and_without_experience_being_added(algorithm):
    agent, session = make(algorithm)
    if not agent.can_dream:
        experience(agent, session, 80)
    if not agent.can_dream:
        assert resolve(algorithm, env_for(algorithm), {}).schedule.dream_every == 0
        return
    for _ in range(8):
        agent.learn()
    before = agent.policy_weights()
    last = [p for p in agent.dream(Budget(rollouts=64))][-1]
    assert last.rollouts == 64
    last = [p for p in agent.dream(Budget(updates=3, rollouts=640))][-1]
    assert last.updates <= 3
    assert [p for p in agent.dream(Budget(seconds=0.0))] == []
    assert all(np.isfinite(value) for value in last.metrics.values())
    weights = agent.policy_weights()
    if values(agent.options).get("dream.updates_per_rollout", 1):
        assert not same(before, weights)


def test_a_dream_can_be_cut_off(algorithm):
    agent, session = make(algorithm)
    experience(agent, session, 80)
    if not agent.can_dream:
        return
    dream = agent.dream(Budget())  # no bound at all
    next(dream)
    dream.close()
    agent.learn()


def test_terminated_and_truncated_are_not_the_same(algorithm):
    """The same experience, once with a terminal end and once cut off by time, is learned from apart."""
    snapshots = []
    for terminated in (True, False):
        agent, session = make(algorithm)
        seen = experience(agent, session, 40)
        for transition in seen:
            end = transition.done or transition.step % 5 == 4
            agent.observe(
                transition._replace(terminated=end and terminated, truncated=end and not terminated)
            )
            agent.learn()
        snapshots.append(
            agent.policy_weights() | {k: v for k, v in agent.snapshot().items() if "critic" in k}
        )
    bootstraps = getattr(agent.options, "baseline", True)  # else nothing depends on what would have come
    assert same(*snapshots) is not bootstraps


def test_options_have_texts_and_defaults_within_their_ranges(algorithm):
    setup = resolve(algorithm, env_for(algorithm), {})
    for option in known(type(setup.agent_options)).values():
        assert option.text, option.name
    again = resolve(algorithm, env_for(algorithm), values(setup.agent_options))
    assert again.agent_options == setup.agent_options
