"""Batch renormalisation: fused loops against PyTorch, running statistics, corrections."""

import pytest
import torch

from spiking_wm.neurons import batch_renorm
from spiking_wm.neurons.batch_renorm import BatchRenorm, renormalised_layers
from spiking_wm.neurons.stacked import StackedLinear


def renorm(corrected: bool) -> BatchRenorm:
    torch.manual_seed(0)
    norm = BatchRenorm(2, 33)
    norm.mean.uniform_(-0.5, 0.5)
    norm.variance.uniform_(0.02, 2)
    norm.batches.fill_(5000 if corrected else 5)
    return norm


@pytest.mark.parametrize("corrected", [False, True])
def test_fused_loops_compute_what_pytorch_computes(corrected, monkeypatch):
    x, weight, found = torch.randn(2, 64, 33), torch.randn(2, 64), []
    for fused in (True, False):
        monkeypatch.setattr(batch_renorm, "fused", lambda *tensors, fused=fused: fused)
        norms = [renorm(corrected) for _ in range(3)]
        layers = [StackedLinear(2, 33, size) for size in (33, 33, 1)]
        for norm in norms:
            torch.nn.init.normal_(norm.offset)
            torch.nn.init.uniform_(norm.gain, 0.5, 2)
        values = renormalised_layers(x, layers, norms)
        (values * weight).sum().backward()
        parts = [tensor for part in (*norms, *layers) for tensor in part.parameters()]
        found.append([values.detach(), *(p.grad for p in parts), *(b for n in norms for b in n.buffers())])
    for one, two in zip(*found):
        torch.testing.assert_close(one, two, atol=5e-5, rtol=1e-4)


def test_running_statistics_normalise_as_a_batch_of_the_same_distribution():
    norm, batch = BatchRenorm(2, 5), torch.randn(2, 400, 5) * 3 + 2
    for _ in range(3):
        normalised = norm(batch)
    for member in range(2):
        torch.testing.assert_close(norm.running(batch[member], member), normalised[member])


def test_gain_and_offset_are_taken_in_by_the_next_layer():
    norm, layer, x = BatchRenorm(2, 5), StackedLinear(2, 5, 3), torch.randn(2, 7, 5)
    with torch.no_grad():
        norm.gain.uniform_(0.5, 2)
        norm.offset.normal_()
    weight, bias = norm.before(layer)
    torch.testing.assert_close(torch.baddbmm(bias, x, weight), layer(x * norm.gain.mT + norm.offset))


def test_first_batches_are_normalised_by_themselves_and_later_ones_by_the_running_statistics():
    norm = BatchRenorm(1, 1)
    batch = torch.randn(1, 100, 1) * 2 + 1
    by_itself = (batch - batch.mean()) / (batch.var(correction=0) + 1e-3).sqrt()
    torch.testing.assert_close(norm(batch), by_itself)
    norm.batches.fill_(5000)
    norm.mean.zero_()
    norm.variance.fill_(1 - 1e-3)
    torch.testing.assert_close(norm(batch), batch, atol=1e-4, rtol=0)


def test_corrections_are_bounded():
    norm = renorm(corrected=True)
    far = norm(torch.randn(2, 100, 33) * 100 + 1e6)
    torch.testing.assert_close(far.mean(1), torch.full((2, 33), 5.0), atol=0.1, rtol=0)
    torch.testing.assert_close(far.std(1, correction=0), torch.full((2, 33), 3.0), atol=0.1, rtol=0)
