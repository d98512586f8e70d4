"""Intervals against scipy's, and against a bootstrap written as a loop."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest, chi2, t

from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.intervals.wilson import wilson


@pytest.mark.parametrize(("successes", "trials"), [(0, 25), (25, 25), (7, 25), (22, 25), (496, 500), (3, 50)])
def test_wilson(successes: int, trials: int) -> None:
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("count", "trials"), [(1, 1), (1, 25), (2, 25), (3, 51), (1, 500)])
def test_next_to_the_ends_the_outer_end_is_poissons(count: int, trials: int) -> None:
    expected = binomtest(count, trials).proportion_ci(method="wilson")
    low, high = wilson(count, trials)
    assert low == pytest.approx(min(expected.low, chi2.ppf(0.05, 2 * count) / 2 / trials), abs=1e-7)
    mirrored = wilson(trials - count, trials)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_ratio_interval_is_that_of_a_loop() -> None:
    random = np.random.default_rng(0)
    weights = random.uniform(1, 3, 40)
    sums = weights * random.normal(2, 0.5, 40)
    low, high = ratio_interval(sums, weights, draws=4000, seed=3)
    ratios = []
    for _ in range(4000):
        drawn = random.integers(0, 40, 40)
        ratios.append(sum(sums[i] for i in drawn) / sum(weights[i] for i in drawn))
    half = t.ppf(0.975, 39) * math.sqrt(40 / 39) * np.std(ratios)
    value = sums.sum() / weights.sum()
    assert (low, high) == pytest.approx((value - half, value + half), abs=0.01)
    assert ratio_interval(sums, weights, draws=4000, seed=3) == (low, high)


@pytest.mark.parametrize("units", [1, 2])
def test_one_or_two_units_have_no_interval(units: int) -> None:
    assert all(math.isnan(end) for end in ratio_interval(np.ones(units), np.ones(units), draws=10, seed=0))
