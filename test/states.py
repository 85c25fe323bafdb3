"""What a run has come to, to compare it with another one."""

import torch

from spiking_wm.core.storage import load


def final_state(run):
    tensors, facts = load(run.newest() / "agent.safetensors")
    return tensors, facts["learner"]


def assert_same_state(one, two):
    assert one[1] == two[1]
    assert one[0].keys() == two[0].keys()
    for name in one[0]:
        assert torch.equal(one[0][name], two[0][name]), name
