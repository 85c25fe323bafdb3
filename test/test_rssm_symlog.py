"""Numbers as distributions over bins."""

import math

import pytest
import torch

from spiking_wm.agents.rssm.symlog import TwoHot, symexp, symlog

APART = 40 / 254  # of two bins, in symlog


def test_symlog_by_hand_and_back():
    x = torch.tensor([-(math.e**2 - 1), 0.0, math.e - 1, 1000.0])
    assert symlog(x).tolist() == pytest.approx([-2, 0, 1, math.log(1001)])
    assert torch.allclose(symexp(symlog(x)), x, rtol=1e-5)


def test_a_flat_distribution_has_a_mean_of_exactly_0():
    assert TwoHot(torch.zeros(3, TwoHot.width)).mean().tolist() == [0, 0, 0]


def test_the_mean_is_that_of_the_bins():
    logits = torch.full((TwoHot.width,), -1e9)
    logits[127 + 10], logits[127 - 3] = math.log(0.25), math.log(0.75)
    expected = 0.25 * (math.exp(10 * APART) - 1) - 0.75 * (math.exp(3 * APART) - 1)
    assert float(TwoHot(logits).mean()) == pytest.approx(expected, rel=1e-5)


def test_log_probability_is_that_of_the_two_bins_around_a_number():
    logits = torch.randn(TwoHot.width)
    below, above = math.exp(4 * APART) - 1, math.exp(5 * APART) - 1  # bins 4 and 5 above the middle
    log_p = logits.log_softmax(0)
    expected = 0.7 * log_p[127 + 4] + 0.3 * log_p[127 + 5]
    x = torch.tensor(0.7 * below + 0.3 * above)
    assert float(TwoHot(logits).log_probability(x)) == pytest.approx(float(expected), rel=1e-4)


@pytest.mark.parametrize("x", [-4000.0, -1.37, 0.0, 0.02, 3.1, 647.0, 2e6])
def test_the_mean_of_what_is_most_probable_is_the_number(x):
    logits = torch.zeros(TwoHot.width, requires_grad=True)
    (weights,) = torch.autograd.grad(TwoHot(logits).log_probability(torch.tensor(x)), logits)
    target = weights + 1 / TwoHot.width  # of a flat distribution, the gradient is its target less itself
    assert float(TwoHot(target.clamp_min(1e-30).log()).mean()) == pytest.approx(x, rel=1e-4, abs=1e-5)


def test_what_is_beyond_the_last_bin_is_taken_for_that():
    logits = torch.zeros(TwoHot.width)
    for x in (1e12, -1e12):
        assert float(TwoHot(logits).log_probability(torch.tensor(x))) == pytest.approx(-math.log(255))
