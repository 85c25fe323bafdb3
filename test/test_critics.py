"""Critics of every kind: values, the first network alone, learning, snapshots."""

import pytest
import torch

from spiking_wm.agents.popsan.critics import CRITICS
from spiking_wm.core.presets import resolve
from spiking_wm.core.registry import agent_class
from spiking_wm.testing import experience, same
from spiking_wm.training.session import Session
from test.conftest import ENV
from test.test_td3 import td3_and_batch

every_kind = pytest.mark.parametrize("kind", CRITICS)


@every_kind
def test_the_first_network_alone_gives_its_values(kind):
    torch.manual_seed(0)
    critic = CRITICS[kind](3, 2, (16, 16))
    observation, action = torch.randn(500, 3), torch.rand(500, 2) * 2 - 1
    for _ in range(3):  # running statistics are then those of this batch
        both = critic(observation, action)
    torch.testing.assert_close(critic.first(observation, action), both[0], atol=1e-4, rtol=0)


@every_kind
def test_values_for_the_actor_do_not_depend_on_other_rows(kind):
    critic = CRITICS[kind](3, 2, (16, 16))
    observation, action = torch.randn(64, 3), torch.rand(64, 2)
    critic(observation, action)
    alone = torch.cat([critic.first(observation[i : i + 1], action[i : i + 1]) for i in range(64)])
    torch.testing.assert_close(critic.first(observation, action), alone, atol=1e-5, rtol=0)


@every_kind
def test_it_learns_the_fixed_point_of_reward_and_discount(kind):
    """Reward 1 and a discount of 0.5 at every step of the policy: every value is 2."""
    td3, batch = td3_and_batch(
        critic_kind=kind, critic_lr=2e-3, target_rate=0.1, target_noise=0.0, actor_lr=0.0
    )
    batch["reward"], batch["discount"] = torch.full((64, 1), 1.0), torch.full((64, 1), 0.5)
    batch["action"] = td3.actor(batch["observation"]).detach()
    batch["next_observation"] = batch["observation"].flip(0)
    for _ in range(800):
        td3.update(batch, torch.Generator().manual_seed(0))
    values = td3.critic(batch["observation"], batch["action"])
    torch.testing.assert_close(values, torch.full_like(values, 2.0), atol=0.1, rtol=0)


@every_kind
def test_learning_continues_from_a_snapshot_bit_for_bit(kind):
    given = {"critic.kind": kind, "batch": 16, "warmup": 0, "proxy.target": True, "actor.averaging": 0.1}
    setup = resolve("popsan", ENV, given)
    session = Session(ENV, 0, steps=10_000)
    agents = [agent_class(setup.agent)(setup.agent_options, session.spaces, seed) for seed in (0, 9)]
    experience(agents[0], session, 60)
    for _ in range(4):
        agents[0].learn()
    agents[1].restore(agents[0].snapshot())
    for agent in agents:
        for _ in range(4):
            agent.learn()
    one, two = (agent.snapshot() for agent in agents)
    assert any("proxy_optimiser" in name for name in one) and same(one, two)
    assert same(*(agent.policy_weights() for agent in agents))


def test_the_acting_weights_are_averaged_over_updates():
    td3, batch = td3_and_batch(actor_averaging=0.5, policy_delay=1)
    before = [p.detach().clone() for p in td3.actor.parameters()]
    td3.update(batch, torch.Generator().manual_seed(0))
    for old, new, acting in zip(before, td3.actor.parameters(), td3.acting_actor.parameters()):
        torch.testing.assert_close(acting, (old + new) / 2)
    assert any((old != new).any() for old, new in zip(before, td3.actor.parameters()))
