"""Adam of our own is torch's, to the bit."""

import pytest
import torch

from spiking_wm.core.adam import Adam, AdamW


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (Adam, torch.optim.Adam, {"betas": (0.5, 0.999), "weight_decay": 1e-2}),
        (AdamW, torch.optim.AdamW, {"weight_decay": 1e-2}),
    ],
)
def test_it_computes_what_torch_s_does(ours, theirs, options):
    first, second = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    second.load_state_dict(first.state_dict())
    optimisers = (
        ours(first.parameters(), 0.1, fused=True, **options),
        theirs(second.parameters(), 0.1, fused=True, **options),
    )
    for step in range(6):
        inputs = torch.randn(5, 3)
        for module, optimiser in zip((first, second), optimisers):
            optimiser.zero_grad()
            module(inputs).square().sum().backward()
            optimiser.step()
        if step == 2:  # each goes on from what the other kept
            kept = [optimiser.state_dict() for optimiser in optimisers]
            assert kept[0]["param_groups"] == kept[1]["param_groups"]
            for optimiser, state in zip(optimisers, kept[::-1]):
                optimiser.load_state_dict(state)
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)
