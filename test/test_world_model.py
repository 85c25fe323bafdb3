import pytest
import torch

from spiking_wm.world_models.ensemble import SpikingWorldModel
from spiking_wm.world_models.options import ModelOptions

PUBLISHED = ModelOptions(
    ticks=8,
    linear_input=False,
    hidden=256,
    blocks=2,
    neurons_per_scale=85,
    readout=(256, 256),
    population_readout=0.7,
)


@pytest.mark.parametrize("sizes", [ModelOptions(), PUBLISHED], ids=["default", "published"])
def test_neurons_fire_within_bounds_and_every_parameter_learns(sizes):
    torch.manual_seed(0)
    model = SpikingWorldModel(17, 6, sizes)
    state, action = torch.randn(64, 17), torch.rand(64, 6) * 2 - 1
    spikes, _ = model.activity(state, action)
    assert spikes.shape[:3] == (sizes.ticks, sizes.members, 64)
    for member in spikes.mean((0, 2, 3)):
        assert 0.01 < member < 0.5
    p = model(state, action)
    assert p.delta.shape == (3, 64, 17) and p.reward.shape == p.termination_logit.shape == (3, 64)
    (p.delta.square().sum() + p.reward.square().sum() + p.termination_logit.square().sum()).backward()
    for name, parameter in model.named_parameters():
        for member, gradient in enumerate(parameter.grad):
            assert gradient.abs().max() > 0, (name, member)


def test_members_are_independent():
    """Each member predicts as it would alone, and starts from weights of its own."""
    torch.manual_seed(0)
    model = SpikingWorldModel(4, 1)
    state, action = torch.randn(8, 4), torch.rand(8, 1)
    together = model(state, action).delta
    assert not torch.allclose(together[0], together[1])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[1:] = 0.5
    torch.testing.assert_close(model(state, action).delta[0], together[0])


def test_fused_and_plain_models_agree():
    torch.manual_seed(0)
    model = SpikingWorldModel(4, 1)
    state, action = torch.randn(32, 4), torch.rand(32, 1)
    plain = model.double()(state.double(), action.double()).delta
    fused = model.float()(state, action).delta
    close = torch.isclose(fused.double(), plain, atol=1e-4)
    assert close.float().mean() > 0.99  # float32 moves a spike across its threshold now and then
