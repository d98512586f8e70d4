"""Quantiles of t against scipy, and intervals over seeds against the textbook."""

import math

import numpy as np
import pytest
from scipy import stats

from sinkscope.intervals import limits as intervals
from sinkscope.intervals.limits import Drawn


@pytest.mark.parametrize("freedom", [*range(1, 31), 60, 1000])
def test_quantiles_of_t(freedom: int) -> None:
    assert intervals.student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-4)


def test_interval_of_draws_by_hand() -> None:
    draws = np.array([1.8, 2.0, 2.1, 2.3, 1.9])
    reach = stats.t.ppf(0.975, 7) * math.sqrt(8 / 7)
    half = math.exp(reach * np.log(draws).std())
    assert intervals.resampled(2.0, Drawn(draws, 8)) == pytest.approx((2 / half, 2 * half), rel=1e-6)
    signed = draws - 2
    half = reach * signed.std()
    assert intervals.resampled(0.1, Drawn(signed, 8)) == pytest.approx((0.1 - half, 0.1 + half), rel=1e-6)
    with_zero = np.array([0.0, 0.5, 1.0])
    assert intervals.resampled(0.5, Drawn(with_zero, 3))[0] == 0  # what is never negative has no negative end


def test_where_there_is_no_interval() -> None:
    draws = np.array([1.8, 2.0, 2.1])
    for drawn in (None, Drawn(draws, 2), Drawn(np.array([1, np.nan, 3]), 8), Drawn(np.array([1, np.inf]), 8)):
        assert all(math.isnan(end) for end in intervals.resampled(2.0, drawn))
    still = Drawn(np.full(9, 512.0) * (1 + 1e-8 * np.arange(9)), 32)  # token 0, the same token in every sequence
    assert not still.varies
    assert all(math.isnan(end) for end in intervals.resampled(512.0, still))
    assert intervals.from_draws(512.0, Drawn(np.full(9, 512.0), 32)) == (512.0, 512.0)


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
    assert math.isnan(intervals.log_variance(Drawn(np.array([1.0, 0.0]), 5)))
    assert intervals.variance(None) == 0
    assert intervals.variance(Drawn(np.array([1.0, 3.0]), 5)) == pytest.approx(1.25)
    assert intervals.log_variance(Drawn(np.exp([1.0, 3.0]), 5)) == pytest.approx(1.25)
