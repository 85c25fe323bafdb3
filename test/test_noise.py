"""Noise on PopSAN's actions: its density, its entropy, and the same noise in the policy that acts."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TanhTransform, TransformedDistribution

from spiking_wm.agents.popsan.noise import FixedNoise, LearnedNoise
from spiking_wm.agents.popsan.options import Options
from spiking_wm.core.options import override
from spiking_wm.core.presets import resolve
from spiking_wm.core.registry import agent_class
from spiking_wm.testing import experience
from spiking_wm.training.session import Session
from test.conftest import ENV


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def test_learned_noise_knows_the_density_of_its_actions():
    noise, decoded = LearnedNoise(3, Options()), torch.randn(500, 3)
    noise.log_deviation.data = torch.tensor([-2.0, -1.0, 0.5])
    action, bonus = noise.next(decoded, seeded())
    normal = Normal(decoded.double(), noise.log_deviation.exp().double())
    density = Independent(TransformedDistribution(normal, [TanhTransform()]), 1)
    inside = (action.abs() < 0.999).all(-1)  # nearer to 1, float32 has too few digits for this test
    expected = -noise.log_temperature.exp() * density.log_prob(action.double())
    torch.testing.assert_close(bonus[inside].double(), expected[inside], atol=2e-3, rtol=1e-3)


def test_the_temperature_keeps_the_entropy_at_its_target():
    """The value of an action falls with its square; only the balance with entropy decides the deviation."""
    noise, generator = LearnedNoise(2, override(Options(), {"actor.entropy": -0.5})), seeded()
    optimiser = torch.optim.Adam(noise.parameters(), 0.01)
    for _ in range(3000):
        action, loss = noise.improve(torch.zeros(64, 2), generator)
        optimiser.zero_grad()
        (loss + 3 * action.square().sum(-1)).mean().backward()
        optimiser.step()
    with torch.no_grad():
        _, bonus = noise.next(torch.zeros(10_000, 2), generator)
        entropy = float((bonus / noise.log_temperature.exp()).mean())
    assert entropy == pytest.approx(2 * -0.5, abs=0.1)


def test_fixed_noise_smooths_targets_and_leaves_the_actor_alone():
    noise, decoded = FixedNoise(2, Options()), torch.randn(1000, 2) * 0.1
    (action, bonus), (greedy, loss) = noise.next(decoded, seeded()), noise.improve(decoded, seeded())
    difference = action - torch.tanh(decoded)
    assert float(difference.std()) == pytest.approx(0.2, rel=0.1) and float(difference.abs().max()) <= 0.5
    torch.testing.assert_close(greedy, torch.tanh(decoded))
    assert not bonus.any() and not loss.any()


@pytest.mark.parametrize(("kind", "deviation"), [("fixed", 0.1), ("learned", 0.02)])
def test_the_policy_explores_by_the_agent_s_noise(kind, deviation):
    setup = resolve("popsan", ENV, {"actor.noise": kind, "warmup": 0, "batch": 16})
    session = Session(ENV, 0, steps=1000)
    agent = agent_class(setup.agent)(setup.agent_options, session.spaces, 0)
    experience(agent, session, 20)
    if kind == "learned":
        agent.td3.noise.log_deviation.data.fill_(np.log(deviation))
    policy = agent_class(setup.agent).policy_class(setup.agent_options, session.spaces)
    policy.load(agent.policy_weights())
    observation, rng = session.pending()[0].observation, np.random.default_rng(0)
    half_range = session.spaces.action.high[0]
    greedy = policy.act(observation, None, None)[0] / half_range
    drawn = np.array([policy.act(observation, None, rng)[0] for _ in range(2000)]) / half_range
    assert drawn.mean() == pytest.approx(greedy[0], abs=0.02)
    slope = 1 - greedy[0] ** 2 if kind == "learned" else 1
    assert drawn.std() == pytest.approx(deviation * slope, rel=0.1)
