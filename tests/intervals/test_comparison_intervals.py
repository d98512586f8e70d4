"""Quantiles of t against scipy, and intervals over seeds against the textbook."""

import math

import numpy as np
import pytest
from scipy import stats

from sinkscope.intervals import limits as intervals


@pytest.mark.parametrize("freedom", [*range(1, 31), 60, 1000])
def test_quantiles_of_t(freedom: int) -> None:
    assert intervals.student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-4)


def test_percentiles() -> None:
    draws = np.random.default_rng(0).permutation(np.arange(1.0, 1001))
    assert intervals.percentiles(draws) == (25, 975)
    assert all(math.isnan(end) for end in intervals.percentiles(np.array([1, np.nan, 3])))
    assert all(math.isnan(end) for end in intervals.percentiles(None))
    assert intervals.percentiles(np.array([1.0] * 10 + [np.inf] * 10)) == (1, np.inf)


def test_linear_interval_over_seeds_is_the_textbooks() -> None:
    values = np.array([3.0, 4.0, 8.0])
    expected = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert intervals.over_seeds_linear(values, 0.0) == pytest.approx(expected, rel=1e-6)
    wider = intervals.over_seeds_linear(values, 2.0)
    assert wider[1] - wider[0] == pytest.approx(2 * 4.302653 * math.sqrt(stats.sem(values) ** 2 + 2))
    assert all(math.isnan(end) for end in intervals.over_seeds_linear(values[:1], 0.0))


def test_interval_of_a_mean_of_positive_values_covers_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        values = random.lognormal(1.0, 0.2, 3)
        low, high = intervals.over_seeds(values.mean(), intervals.spread_of_mean(values), 2)
        hits += low <= math.exp(1.02) <= high
    assert 930 <= hits <= 970


def test_what_has_no_spread_has_no_interval() -> None:
    assert math.isnan(intervals.spread_of_mean(np.array([3.0])))
    assert math.isnan(intervals.spread_of_mean(np.zeros(3)))
    assert all(math.isnan(end) for end in intervals.over_seeds(0.0, 0.1, 2))
    assert all(math.isnan(end) for end in intervals.over_seeds(1.0, math.nan, 2))
    assert intervals.log_variance(None) == 0
    assert math.isnan(intervals.log_variance(np.array([1.0, 0.0])))
