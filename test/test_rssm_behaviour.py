"""Actor and critic, and what they learn from imagined rollouts."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from spiking_wm.agents.rssm.behaviour import (
    Actor,
    Behaviour,
    clip_code,
    lambda_returns,
    replayed_returns,
)
from spiking_wm.agents.rssm.network import Features
from spiking_wm.agents.rssm.observations import Observations
from spiking_wm.agents.rssm.options import Options
from spiking_wm.agents.rssm.symlog import TwoHot
from spiking_wm.agents.rssm.world_model import WorldModel, divergence
from spiking_wm.core.actions import Actions
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import override
from spiking_wm.core.spaces import Spaces
from spiking_wm.memory.sequences import Batch

VECTOR = Box(-np.inf, np.inf, (4,), np.float32)
PICTURE = Box(0, 255, (210, 160, 3), np.uint8)
BOUNDED = Box(np.float32([-2, 0]), np.float32([2, 1]))


def random_batch(length: int) -> Batch:
    numbers = torch.randn(length, 5), torch.zeros(length, 5), torch.zeros(length, 5)
    return Batch(torch.randn(length, 5, 4), torch.randn(length, 5, 2), *numbers)


def test_lambda_returns_by_hand():
    reward, discount = torch.tensor([[1.0], [2.0], [3.0]]), torch.tensor([[0.9], [0.5], [0.8]])
    values = torch.tensor([[10.0], [20.0], [30.0]])
    third = 3 + 0.8 * 30
    second = 2 + 0.5 * (0.4 * 20 + 0.6 * third)
    first = 1 + 0.9 * (0.4 * 10 + 0.6 * second)
    returns = lambda_returns(reward, discount, values, 0.6)
    assert returns[:, 0].tolist() == pytest.approx([first, second, third])


def test_divergence_by_hand():
    p, q = torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]), torch.tensor([[[0.25, 0.75], [0.9, 0.1]]])
    expected = 0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75)
    assert float(divergence(p.log(), q.log())) == pytest.approx(expected, rel=1e-5)


def test_actions_and_codes_are_each_other_s_inverse():
    actions = Actions(Spaces(VECTOR, BOUNDED, 0.02), "spiking_wm")
    assert actions.code(np.float32([2, 0])).tolist() == [1, -1]
    assert actions.action(np.float32([0, 3])).tolist() == [0, 1]  # within bounds
    discrete = Actions(Spaces(VECTOR, Discrete(3, start=5), 0.02), "spiking_wm")
    assert [int(discrete.action(discrete.code(np.asarray(a)))) for a in (5, 6, 7)] == [5, 6, 7]


def test_pictures_become_64_by_64():
    observations = Observations(Spaces(PICTURE, BOUNDED, 0.02))
    picture = np.zeros(PICTURE.shape, np.uint8)
    picture[:105] = 200
    seen = observations(picture)
    assert seen.shape == (64, 64, 3) and seen.dtype == torch.uint8
    assert seen[0, 0, 0] == 200 and seen[-1, -1, -1] == 0
    grey = Observations(Spaces(Box(0, 255, (84, 84), np.uint8), BOUNDED, 0.02))
    assert grey(picture[:84, :84, 0]).shape == (64, 64, 1)


def test_spaces_that_cannot_be_served_are_refused():
    for space in (Box(0, 1, (3, 3), np.float32), Box(0, 255, (9,), np.uint8)):
        with pytest.raises(UserError, match="choose another env"):
            Observations(Spaces(space, BOUNDED, 0.02))
    with pytest.raises(UserError, match="bounded"):
        Actions(Spaces(VECTOR, VECTOR, 0.02), "spiking_wm")


def test_the_policy_is_the_distribution_that_it_tells():
    torch.manual_seed(0)
    one = Features(torch.randn(1, 1, 256), torch.randn(1, 256))
    features = Features(one.spikes.expand(1, 20_000, 256), one.sample.expand(20_000, 256))
    gaussian = Actor(2, False, Options())
    with torch.no_grad():
        code = gaussian.draw(features, torch.randn(20_000, 2))
        log_probability, entropy = gaussian.likelihood(gaussian.outputs(features), code)
        mean, deviation = gaussian.outputs(one)
    assert torch.allclose(code.mean(0), mean[0], atol=0.02)
    assert torch.allclose(code.std(0), deviation[0], atol=0.02)
    assert code.abs().max() > 1 == clip_code(code).abs().max()
    expected = torch.distributions.Normal(mean[0], deviation[0])
    assert torch.allclose(log_probability, expected.log_prob(code).sum(-1), rtol=1e-4)
    assert float(entropy[0]) == pytest.approx(float(expected.entropy().sum()), rel=1e-4)
    softmax = Actor(3, True, Options())
    gumbel = -(-torch.rand(20_000, 3).log()).log()
    with torch.no_grad():
        code = softmax.draw(features, gumbel)
        log_probability, entropy = softmax.likelihood(softmax.outputs(features), code)
        log_p, _ = softmax.outputs(one)
    assert torch.allclose(code.mean(0), log_p[0].exp(), atol=0.02)
    assert torch.allclose(log_probability, log_p[0][code.argmax(-1)])
    assert float(entropy[0]) == pytest.approx(float(-(log_p.exp() * log_p).sum()), rel=1e-4)


ALIVE = torch.ones(6)  # none of the rollouts starts where all is over


def rollouts(discrete: bool, given: dict | None = None):
    torch.manual_seed(0)
    options = override(Options(), {"dream.horizon": 4} | (given or {}))
    spaces = Spaces(VECTOR, Discrete(3) if discrete else BOUNDED, 0.02)
    model = WorldModel(options, Observations(spaces), Actions(spaces, "spiking_wm").width)
    behaviour = Behaviour(options, Actions(spaces, "spiking_wm").width, discrete)
    for readout in (model.reward, behaviour.critic):  # they say the same of everything to begin with
        torch.nn.init.normal_(readout.linear.weight, 0, 0.1)
    start = model.rssm.initial(6, like=torch.zeros(1))
    generator = torch.Generator().manual_seed(1)
    return model, behaviour, behaviour.imagine(model, start, generator)


@pytest.mark.parametrize("discrete, gradient", [(False, "dynamics"), (False, "score"), (True, "dynamics")])
def test_actor_and_critic_have_gradients_of_their_own(discrete, gradient):
    model, behaviour, imagined = rollouts(discrete, {"actor.gradient": gradient})
    assert imagined.features.spikes.shape[:3] == (1, 5, 6) and imagined.code.shape[:2] == (4, 6)
    assert imagined.features.sample.requires_grad == (gradient == "dynamics" and not discrete)
    actor_loss, critic_loss, _ = behaviour.losses(behaviour.targets(model, imagined, ALIVE))
    critic_loss.backward(retain_graph=True)
    assert all(p.grad is None for p in [*model.parameters(), *behaviour.actor.parameters()])
    assert all(p.grad.abs().sum() > 0 for p in behaviour.critic.parameters())
    actor = list(behaviour.actor.parameters())
    actor_loss.backward(inputs=actor)
    assert all(p.grad.abs().sum() > 0 for p in actor)


def test_what_was_better_than_expected_becomes_more_probable():
    model, behaviour, imagined = rollouts(
        False, {"actor.gradient": "score", "actor.entropy": 0.0, "dream.horizon": 1}
    )
    seen = Features(imagined.features.spikes[:, :-1], imagined.features.sample[:-1])
    with torch.no_grad():
        later = Features(imagined.features.spikes[:, 1:], imagined.features.sample[1:])
        value = TwoHot(behaviour.critic(*imagined.features)).mean()
        reward = TwoHot(model.reward(*later)).mean()
        follows = behaviour.options.discount * model.continues(*later)[..., 0].sigmoid() * value[1:]
        advantage = reward + follows - value[:-1]
    (mean, deviation), wanted = behaviour.actor.outputs(seen), torch.zeros(())
    for row in range(6):
        normal = torch.distributions.Normal(mean[0, row], deviation[0, row])
        wanted = wanted + advantage[0, row] * normal.log_prob(imagined.code[0, row]).sum() / 6
    weights = [behaviour.actor.readout.linear.bias]
    got = torch.autograd.grad(behaviour.losses(behaviour.targets(model, imagined, ALIVE))[0], weights)[0]
    spread = (behaviour.return_range[1] - behaviour.return_range[0]).clamp_min(1)
    expected = torch.autograd.grad(-wanted / spread, weights)[0]
    assert torch.allclose(got, expected, rtol=1e-3, atol=1e-4) and expected.abs().max() > 0.1


def test_a_policy_that_has_moved_learns_no_more_from_what_it_gained():
    """Beyond some ratio of probabilities there is no gradient that would go on that way."""
    model, behaviour, imagined = rollouts(False, {"actor.gradient": "score", "actor.entropy": 0.0})
    targets = behaviour.targets(model, imagined, ALIVE)
    weights = behaviour.actor.readout.linear.weight
    for better in (1.0, -1.0):
        for moved, learns in ((0.5, better < 0), (-0.5, better > 0)):  # log-probability now less that before
            log_probability, _ = behaviour.actor.likelihood(
                behaviour.actor.outputs(targets.features), targets.code
            )
            moved_targets = targets._replace(
                advantage=torch.full_like(targets.advantage, better),
                log_probability=log_probability.detach() - moved,
            )
            gradient = torch.autograd.grad(behaviour.losses(moved_targets)[0], weights)[0]
            assert bool(gradient.abs().sum() > 0) is learns, (better, moved)


def test_minibatches_are_whole_rollouts():
    model, behaviour, imagined = rollouts(False)
    targets = behaviour.targets(model, imagined, ALIVE)
    parts = targets.split(3)
    assert [part.code.shape[:2] for part in parts] == 3 * [(4, 2)]
    for name in ("code", "returns", "advantage", "weight"):
        assert torch.equal(torch.cat([getattr(part, name) for part in parts], 1), getattr(targets, name))
    assert torch.equal(torch.cat([part.features.spikes for part in parts], 2), targets.features.spikes)


@pytest.mark.parametrize(
    "discrete, gradient, updates", [(False, "dynamics", 1), (False, "score", 6), (True, "dynamics", 6)]
)
def test_gradients_through_the_model_are_taken_once(discrete, gradient, updates):
    model, behaviour, imagined = rollouts(
        discrete, {"actor.gradient": gradient, "actor.epochs": 2, "actor.minibatches": 3}
    )
    assert len(behaviour.minibatches(behaviour.targets(model, imagined, ALIVE))) == updates


def test_what_follows_an_end_does_not_count():
    model, behaviour, imagined = rollouts(False)
    with torch.no_grad():
        model.continues.linear.bias.fill_(-50)  # every step ends the task
        _, _, metrics = behaviour.losses(behaviour.targets(model, imagined, ALIVE))
        spikes, sample = imagined.features
        reward = TwoHot(model.reward(spikes[:, 1:], sample[1:])).mean()
    assert metrics["imagined_return"] == pytest.approx(float(reward.mean()), rel=1e-4)


def test_rollouts_from_where_all_is_over_teach_nothing():
    model, behaviour, imagined = rollouts(False)
    alive, before = torch.tensor([1.0, 0, 1, 1, 0, 1]), behaviour.value_offset.clone()
    targets = behaviour.targets(model, imagined, alive)
    assert (targets.weight[:, alive == 0] == 0).all() and (targets.weight[0, alive == 1] == 1).all()
    spoilt = targets._replace(
        returns=torch.where(alive > 0, targets.returns, 1e3),
        advantage=torch.where(alive > 0, targets.advantage, 1e3),
    )
    for one, other in zip(behaviour.losses(targets)[:2], behaviour.losses(spoilt)[:2]):
        assert float(one) == pytest.approx(float(other))
    behaviour.update_offset(spoilt)
    rose = behaviour.value_offset - before
    behaviour.value_offset.copy_(before)
    behaviour.update_offset(targets)
    assert torch.equal(behaviour.value_offset - before, rose)


def test_all_values_rise_to_what_rewards_amount_to():
    model, behaviour, _ = rollouts(False, {"discount": 0.9})
    for readout in (model.reward, behaviour.critic, behaviour.slow_critic):
        torch.nn.init.zeros_(readout.linear.weight)
    with torch.no_grad():  # 1.5 in every step, for ever
        model.reward.linear.bias[:] = 1000 * torch.eye(TwoHot.width)[127 + 6]
        model.continues.linear.bias[:] = 1000
        each = float(TwoHot(model.reward.linear.bias).mean())
    start, generator = model.rssm.initial(6, like=torch.zeros(1)), torch.Generator().manual_seed(1)
    for _ in range(80):
        behaviour.update_offset(behaviour.targets(model, behaviour.imagine(model, start, generator), ALIVE))
    targets = behaviour.targets(model, behaviour.imagine(model, start, generator), ALIVE)
    assert each > 1 and targets.returns.flatten().tolist() == pytest.approx([each / 0.1] * 24, rel=1e-3)
    assert float(behaviour.value_offset) == pytest.approx(each / 0.1, rel=1e-3)


def test_the_slow_critic_follows():
    _, behaviour, _ = rollouts(False)
    slow, fast = behaviour.slow_critic.linear.weight.detach(), behaviour.critic.linear.weight.detach()
    before = float((slow - fast).abs().sum())
    for _ in range(50):
        behaviour.update_slow_critic()
    assert float((slow - fast).abs().sum()) == pytest.approx(before * 0.98**50, rel=1e-3)


def test_free_nats_cost_nothing_and_the_balance_is_as_told():
    torch.manual_seed(0)
    spaces = Spaces(VECTOR, BOUNDED, 0.02)
    batch, losses = random_batch(6), {}
    for name, given in {"free": {"model.free_nats": 1e6}, "all": {"model.free_nats": 0.0}}.items():
        options = override(Options(), given)
        model = WorldModel(options, Observations(spaces), 2)
        noise = torch.rand(6, 5, model.rssm.width)
        _, _, metrics = model.loss(batch, noise)
        losses[name] = metrics
        parts = metrics["model_dynamics_loss"] / metrics["model_representation_loss"]
        assert parts == pytest.approx(0.5 / 0.1, rel=1e-4)
    assert losses["free"]["model_dynamics_loss"] == pytest.approx(0.5e6)
    assert losses["all"]["model_dynamics_loss"] == pytest.approx(0.5 * losses["all"]["divergence"], rel=1e-4)


def test_each_divergence_teaches_its_own_side():
    """The prior learns from one weight, the posterior from the other."""
    spaces = Spaces(VECTOR, BOUNDED, 0.02)
    for weights, taught, untaught in (
        ({"model.representation_weight": 0.0}, "prior_logits", "posterior_logits"),
        ({"model.dynamics_weight": 0.0}, "posterior_logits", "prior_logits"),
    ):
        torch.manual_seed(0)
        model = WorldModel(override(Options(), {"model.free_nats": 0.0} | weights), Observations(spaces), 2)
        batch = random_batch(1)  # later priors depend on earlier posteriors
        for part in (model.decoder, model.reward, model.continues):  # nothing else teaches
            torch.nn.init.zeros_(part.linear.weight)
        model.loss(batch, torch.rand(1, 5, model.rssm.width))[0].backward()
        assert getattr(model.rssm, taught).bias.grad.abs().sum() > 0
        grad = getattr(model.rssm, untaught).bias.grad
        assert grad is None or grad.abs().sum() == 0


def test_returns_that_really_came_end_with_their_episodes():
    generator = torch.Generator().manual_seed(0)
    reward, values = (torch.rand(6, 2, generator=generator) for _ in range(2))
    first, terminal = torch.zeros(6, 2), torch.zeros(6, 2)
    first[0], first[3, 0], terminal[2, 0], terminal[4, 1] = 1, 1, 1, 1
    batch = Batch(torch.zeros(6, 2, 1), torch.zeros(6, 2, 1), reward, first, terminal)
    got = replayed_returns(batch, 0.9 * (1 - terminal), values, 0.8)
    for b in range(2):
        later = float(values[5, b])
        for t in range(4, -1, -1):
            continues = 0.0 if terminal[t + 1, b] else 0.9
            later = float(reward[t + 1, b]) + continues * (0.2 * float(values[t + 1, b]) + 0.8 * later)
            if first[t + 1, b]:
                later = float(values[t, b])
            assert float(got[t, b]) == pytest.approx(later, rel=1e-5)


def test_the_critic_learns_from_what_really_came():
    _, behaviour, _ = rollouts(False)
    generator = torch.Generator().manual_seed(0)
    features = Features(
        torch.rand(1, 6, 3, 256, generator=generator), torch.rand(6, 3, 256, generator=generator)
    )
    nothing = torch.zeros(6, 3)
    batch = Batch(nothing, nothing, nothing + 1, nothing, nothing)
    behaviour.replay_loss(features, batch).backward()
    assert all(p.grad.abs().sum() > 0 for p in behaviour.critic.parameters())
    assert all(p.grad is None for p in [*behaviour.actor.parameters(), *behaviour.slow_critic.parameters()])
