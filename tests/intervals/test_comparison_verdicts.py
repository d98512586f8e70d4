"""The words follow the intervals and the margin."""

import math
from itertools import pairwise

import pytest

from sinkscope.intervals.verdicts import JUDGED, LARGER, SMALLER, VERDICTS, verdict


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.81, 1.24, "unchanged"),
        (0.85, 0.95, "unchanged"),
        (0.8, 1.25, "unchanged"),
        (0.3, 0.79, "suppressed"),
        (0.3, 0.9, "lower, size unclear"),
        (0.664, 0.871, "lower, size unclear"),  # reaches into the margin
        (0.6, 0.99, "lower, size unclear"),
        (0.2, 1.01, "unclear"),
        (1.26, 4.0, "grown"),
        (1.26, math.inf, "grown"),
        (1.1, 4.0, "higher, size unclear"),
        (1.1, 1.4, "higher, size unclear"),
        (0.9, 4.0, "unclear"),
        (0.7, 1.1, "unclear"),
        (math.nan, math.nan, "no interval"),
    ],
)
def test_words(low: float, high: float, word: str) -> None:
    assert verdict(low, high, 1.25) == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (1.03, 1.07, "worse, size unclear"),
        (1.06, 1.2, "worse"),
        (0.93, 0.97, "better, size unclear"),
        (0.8, 0.9, "better"),
        (1.01, 1.03, "unchanged"),
        (0.9, 1.02, "unclear"),
        (math.nan, math.nan, "no interval"),
    ],
)
def test_of_a_loss_the_words_are_of_value(low: float, high: float, word: str) -> None:
    assert verdict(low, high, 1.05, cost=True) == word


def test_a_wider_margin_leaves_more_unchanged() -> None:
    assert verdict(0.6, 0.79, 1.25) == "suppressed"
    assert verdict(0.6, 0.79, 2.0) == "unchanged"


def test_every_interval_has_one_word_and_mirrors_have_mirrored_words() -> None:
    ends = [0.5, 0.79, 0.81, 0.99, 1.01, 1.24, 1.26, 2.0]
    mirrored = dict(zip(SMALLER, LARGER, strict=True)) | dict(zip(LARGER, SMALLER, strict=True))
    for cost in (False, True):
        for place, low in enumerate(ends):
            for high in ends[place:]:
                word = verdict(low, high, 1.25, cost=cost)
                assert word in JUDGED
                assert verdict(1 / high, 1 / low, 1.25, cost=cost) == mirrored.get(word, word)
    assert len(set(VERDICTS)) == len(VERDICTS)
    assert all(one != other for one, other in pairwise(VERDICTS))
