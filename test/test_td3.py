"""TD3 updates, with a slowly moving copy of the actor or a proxy network as target actor."""

import torch

from spiking_wm.agents.popsan.network import PopSAN
from spiking_wm.agents.popsan.options import Options
from spiking_wm.agents.popsan.td3 import TD3
from spiking_wm.core.options import override


def td3_and_batch(**options) -> tuple[TD3, dict]:
    torch.manual_seed(0)
    o = override(Options(), {"actor_hidden": [32], "critic_hidden": [64, 64], **options})
    batch = {name: torch.randn(64, 3) for name in ("observation", "next_observation")}
    batch |= {
        "action": torch.rand(64, 2) * 2 - 1,
        "reward": torch.randn(64, 1),
        "discount": torch.ones(64, 1),
    }
    return TD3(PopSAN(3, 2, o.actor), 3, 2, o), batch


def test_a_proxy_learns_to_act_as_the_actor_and_an_update_improves_both():
    td3, batch = td3_and_batch(proxy_target=True, actor_lr=0.0, proxy_updates=5)
    observation = batch["observation"]

    def error() -> float:
        with torch.no_grad():
            return float(
                (torch.tanh(td3.target_actor.decoded(observation)) - td3.actor(observation)).square().mean()
            )

    before = error()
    for _ in range(200):
        td3.update(batch, torch.Generator().manual_seed(0))
    assert error() < 0.05 * before


def test_while_the_actor_waits_the_critic_learns_and_its_target_follows():
    td3, batch = td3_and_batch(target_rate=1.0)
    actor = [p.detach().clone() for p in td3.actor.parameters()]
    critic = [p.detach().clone() for p in td3.critic.parameters()]
    for _ in range(2):
        td3.update(batch, torch.Generator().manual_seed(0), improve_actor=False)
    assert all(torch.equal(*pair) for pair in zip(actor, td3.actor.parameters()))
    assert not any(torch.equal(*pair) for pair in zip(critic, td3.critic.parameters()))
    assert all(torch.equal(*pair) for pair in zip(td3.critic.parameters(), td3.target_critic.parameters()))


def test_without_a_proxy_the_target_follows_the_actor_s_weights():
    td3, batch = td3_and_batch(target_rate=1.0)
    for _ in range(2):
        td3.update(batch, torch.Generator().manual_seed(0))
    for online, slow in zip(td3.actor.parameters(), td3.target_actor.parameters()):
        torch.testing.assert_close(online, slow)


def test_reward_and_discount_of_a_transition_make_its_value():
    """With targets that are known, the critic learns reward + discount x value."""
    td3, batch = td3_and_batch(critic_lr=1e-2, target_rate=0.0)
    for network in td3.target_critic.layers[-1:]:
        torch.nn.init.zeros_(network.weight)
        torch.nn.init.constant_(network.bias, 2.0)
    batch["reward"], batch["discount"] = torch.full((64, 1), 1.0), torch.full((64, 1), 0.5)
    for _ in range(300):
        td3.update(batch, torch.Generator().manual_seed(0))
    values = td3.critic(batch["observation"], batch["action"])
    torch.testing.assert_close(values, torch.full_like(values, 2.0), atol=0.1, rtol=0)
