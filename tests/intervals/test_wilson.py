"""Intervals against scipy's, and against a bootstrap written as a loop."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.intervals.wilson import wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 25), (25, 25), (7, 25), (1, 1), (499, 500)])
def test_wilson(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_ratio_interval_is_that_of_a_loop() -> None:
    random = np.random.default_rng(0)
    weights = random.uniform(1, 3, 40)
    sums = weights * random.normal(2, 0.5, 40)
    low, high = ratio_interval(sums, weights, draws=4000, seed=3)
    ratios = []
    for _ in range(4000):
        drawn = random.integers(0, 40, 40)
        ratios.append(sum(sums[i] for i in drawn) / sum(weights[i] for i in drawn))
    assert (low, high) == pytest.approx(np.percentile(ratios, (2.5, 97.5)), abs=0.02)
    assert ratio_interval(sums, weights, draws=4000, seed=3) == (low, high)


def test_one_unit_has_no_interval() -> None:
    assert all(math.isnan(end) for end in ratio_interval(np.ones(1), np.ones(1), draws=10, seed=0))
