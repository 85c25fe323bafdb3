"""Numbers as distributions over bins."""

import math

import pytest
import torch

from spiking_wm_ros.snn.symlog import TwoHot, symexp, symlog

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
    x = math.exp((4 + 0.3) * APART) - 1  # 0.3 of the way from bin 4 to bin 5 above the middle
    log_p = logits.log_softmax(0)
    expected = 0.7 * log_p[127 + 4] + 0.3 * log_p[127 + 5]
    assert float(TwoHot(logits).log_probability(torch.tensor(x))) == pytest.approx(float(expected), rel=1e-4)


def test_what_is_beyond_the_last_bin_is_taken_for_that():
    logits = torch.zeros(TwoHot.width)
    for x in (1e12, -1e12):
        assert float(TwoHot(logits).log_probability(torch.tensor(x))) == pytest.approx(-math.log(255))
