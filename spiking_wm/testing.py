"""Conformance tests that every algorithm must pass; packages can run them on their own agents.

In a test file of your own::

    from spiking_wm.testing import AgentConformance

    class TestMyAgent(AgentConformance):
        algorithm, env = "my_agent", "CartPole-v1"
        options = {"batch": 16, "warmup": 40}  # small enough for a test

pytest collects the tests of the class. Call `pytest.register_assert_rewrite("spiking_wm.testing")` before the
import to see values in failed assertions.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from spiking_wm.core.contract import Agent, Budget, Policy, Transition
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.options import described, override, values
from spiking_wm.core.player import Player
from spiking_wm.core.presets import Setup, resolve
from spiking_wm.core.registry import agent_class
from spiking_wm.training.session import Session

_STEPS = 10_000  # more steps than any test makes


def experience(agent: Agent, session: Session, steps: int) -> list[Transition]:
    """Let an agent act with exploration and observe for some steps; returns the transitions."""
    player, exploration, seen = Player(policy_of(agent)), Exploration(0), []
    player.reset()
    for _ in range(steps):
        (pending,) = session.pending()
        if pending.episode_step == 0:
            player.reset()
        seen += session.apply([player.act(pending.observation, exploration.at(pending.step))], 1)
        player.rewarded(seen[-1].reward)
        agent.observe(seen[-1])
    return seen


def policy_of(agent: Agent) -> Policy:
    """A policy that acts as an agent does now."""
    policy = agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    return policy


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    """True if all tensors are bit-identical."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class AgentConformance:
    """Tests of one algorithm in one environment. Subclass it and set the attributes.

    Attributes:
        algorithm: name of a preset or of a registered agent.
        env: an environment that it supports, an id or ``module:function``.
        options: options that make it small enough for a test.
        bootstraps: True if learning must distinguish truncated from terminated episodes.
    """

    algorithm: ClassVar[str]
    env: ClassVar[str] = "CartPole-v1"
    options: ClassVar[Mapping[str, Any]] = {}
    bootstraps: ClassVar[bool] = True

    def setup(self) -> Setup:
        """The algorithm with these options."""
        return resolve(self.algorithm, self.env, self.options)

    def make(self, seed: int = 0) -> tuple[Agent, Session]:
        """A new agent, and a session of its environment."""
        setup, session = self.setup(), Session(self.env, seed, _STEPS)
        return agent_class(setup.agent)(setup.agent_options, session.spaces, seed), session

    def test_acts_within_the_space_and_the_greedy_action_is_a_function_of_what_was_observed(self) -> None:
        """Two policies with the same weights choose the same actions, inside the action space."""
        agent, session = self.make()
        experience(agent, session, 60)
        one, two = Player(policy_of(agent)), Player(policy_of(agent))
        one.reset()
        two.reset()
        for _ in range(20):
            observation = session.pending()[0].observation
            action = one.act(observation)
            np.testing.assert_array_equal(action, two.act(observation))
            reward = session.apply([action], 1)[0].reward  # refuses an action outside the space
            one.rewarded(reward)
            two.rewarded(reward)

    def test_exploration_comes_from_the_given_generator_alone(self) -> None:
        """Global generators are not used; different steps give different actions."""
        agent, session = self.make()
        policy, observation = policy_of(agent), session.pending()[0].observation
        np.random.seed(0)
        torch.manual_seed(0)
        one, two, other = (
            [policy.act(observation, policy.initial_state(), Exploration(5).at(k))[0] for k in steps]
            for steps in (range(7), range(7), range(8, 15))
        )
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, other)

    def test_learning_changes_the_policy_and_released_weights_are_copies(self) -> None:
        """Released weights do not change while learning continues."""
        agent, session = self.make()
        experience(agent, session, 60)
        before = agent.policy_weights()
        kept = {name: value.clone() for name, value in before.items()}
        for _ in range(4):
            assert all(np.isfinite(value) for value in agent.learn().values())
        experience(agent, session, 1)
        assert same(before, kept)
        assert not same(before, agent.policy_weights())

    def test_seeds_decide_everything_and_the_global_generator_nothing(self) -> None:
        """Equal seeds give equal snapshots, also if global generators are used in between; others do not."""
        snapshots = []
        for seed, disturbance in ((3, 0), (3, 1), (4, 0)):
            torch.manual_seed(disturbance)
            agent, session = self.make(seed)
            undisturbed = torch.get_rng_state()
            experience(agent, session, 60)
            for _ in range(3):
                agent.learn()
            assert torch.equal(torch.get_rng_state(), undisturbed)
            snapshots.append(agent.snapshot())
        assert same(snapshots[0], snapshots[1])
        assert not same(snapshots[0], snapshots[2])

    def test_goes_on_from_a_snapshot_bit_for_bit(self) -> None:
        """A restored agent learns and dreams exactly as one that was not stopped."""
        agent, session = self.make()
        experience(agent, session, 60)
        for _ in range(3):
            agent.learn()
        other, _ = self.make(seed=9)
        other.restore(agent.snapshot())
        for transition in experience(agent, session, 10):
            other.observe(transition)
        for learner in (agent, other):
            for _ in range(3):
                learner.learn()
            if learner.can_dream:
                for _ in learner.dream(Budget(rollouts=16)):
                    pass
        assert same(agent.snapshot(), other.snapshot())

    def test_dreams_within_its_budget_and_learns_from_it(self) -> None:
        """A dream respects every limit and changes the policy."""
        agent, session = self.make()
        if not agent.can_dream:
            experience(agent, session, 80)
        if not agent.can_dream:
            assert self.setup().schedule.dream.every == 0  # no dreams may be scheduled
            return
        for _ in range(8):
            agent.learn()
        before = agent.policy_weights()
        assert [*agent.dream(Budget(rollouts=64))][-1].rollouts == 64
        last = [*agent.dream(Budget(updates=3, rollouts=640))][-1]
        assert last.updates <= 3
        assert [*agent.dream(Budget(seconds=0.0))] == []
        assert all(np.isfinite(value) for value in last.metrics.values())
        if values(agent.options).get("dream.updates_per_rollout", 1):
            assert not same(before, agent.policy_weights())

    def test_a_dream_can_be_cut_off(self) -> None:
        """Closing a dream ends it, and learning continues."""
        agent, session = self.make()
        experience(agent, session, 80)
        if not agent.can_dream:
            return
        dream = agent.dream(Budget())  # no limit
        next(dream)
        dream.close()
        agent.learn()

    def test_terminated_and_truncated_are_not_the_same(self) -> None:
        """The same experience, once terminated and once truncated, gives different updates."""
        snapshots = []
        for terminated in (True, False):
            agent, session = self.make()
            for transition in experience(agent, session, 40):
                end = transition.done or transition.step % 5 == 4
                agent.observe(
                    transition._replace(terminated=end and terminated, truncated=end and not terminated)
                )
                agent.learn()
            critics = {name: value for name, value in agent.snapshot().items() if "critic" in name}
            snapshots.append(agent.policy_weights() | critics)
        assert same(snapshots[0], snapshots[1]) is not self.bootstraps

    def test_options_have_texts_and_defaults_within_their_ranges(self) -> None:
        """Every option has a description, and its value is valid."""
        options = self.setup().agent_options
        for option in described(options).values():
            assert option.text, option.name
        assert override(type(options)(), values(options)) == options
