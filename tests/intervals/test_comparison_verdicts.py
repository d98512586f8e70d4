"""The words follow the intervals and the margin."""

import math

import pytest

from sinkscope.intervals.verdicts import verdict


@pytest.mark.parametrize(
    ("ratio", "low", "high", "word"),
    [
        (1.0, 0.81, 1.24, "preserved"),
        (0.9, 0.85, 0.95, "preserved"),
        (1.0, 0.8, 1.25, "preserved"),
        (0.5, 0.3, 0.9, "suppressed"),
        (0.79, 0.6, 0.99, "suppressed"),
        (0.81, 0.6, 0.99, "unclear"),
        (0.5, 0.2, 1.01, "unclear"),
        (2.0, 1.1, 4.0, "grown"),
        (2.0, 1.1, math.inf, "grown"),
        (1.24, 1.1, 1.4, "unclear"),
        (2.0, 0.9, 4.0, "unclear"),
        (1.0, 0.7, 1.1, "unclear"),
        (0.5, math.nan, math.nan, "no interval"),
        (math.nan, math.nan, math.nan, "no interval"),
    ],
)
def test_words(ratio: float, low: float, high: float, word: str) -> None:
    assert verdict(ratio, low, high, 1.25) == word


def test_a_wider_margin_preserves_more() -> None:
    assert verdict(0.7, 0.6, 0.8, 1.25) == "suppressed"
    assert verdict(0.7, 0.6, 0.8, 2.0) == "preserved"
