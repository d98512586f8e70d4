"""Scores of a harness: shares of answers by Wilson, other means by Student's t, and nothing where nothing is known."""

import math

import pytest
from scipy import stats

from sinkscope.intervals.of_scores import score_interval
from sinkscope.intervals.wilson import wilson


def test_a_share_of_right_answers_has_wilsons_interval() -> None:
    assert score_interval("acc", 1.0, 0.0, 10) == wilson(10, 10)  # the harness's error is 0, and 10 of 10 prove little
    assert score_interval("acc_norm", 0.3, 0.14, 10) == wilson(3, 10)


def test_other_scores_have_students() -> None:
    half = stats.t.ppf(0.975, 9) * 0.1
    assert score_interval("f1", 0.4, 0.1, 10) == pytest.approx((0.4 - half, 0.4 + half), rel=1e-6)


@pytest.mark.parametrize(
    ("metric", "error", "samples"),
    [("acc", math.nan, 10), ("acc", 0.1, math.nan), ("f1", 0.1, 2), ("f1", 0.0, 10)],
)
def test_where_there_is_none(metric: str, error: float, samples: float) -> None:
    assert all(math.isnan(end) for end in score_interval(metric, 0.5, error, samples))
