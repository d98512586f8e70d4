"""The 95 % interval of a score that an evaluation harness gives with its standard error.

A harness's standard error of an accuracy is 0 where all questions are answered alike, and too small near that; so the
share of right answers gets `wilson`. Any other mean gets Student's t.
"""

import math

from sinkscope.intervals.limits import FEWEST, NONE, Interval, student
from sinkscope.intervals.wilson import wilson

SHARES_OF_ANSWERS = ("acc", "acc_norm", "exact_match", "em")
"""Metrics that are the share of questions answered right: means of 0 and 1."""


def score_interval(metric: str, value: float, error: float, samples: float) -> Interval:
    """The interval of a score.

    Args:
        metric: its name.
        value: the score.
        error: its standard error; NaN where there is none.
        samples: how many questions it is a mean over; NaN where that is not known.

    Returns:
        Both ends; none without a standard error, and without a number of samples, or where that is under 3.
    """
    if math.isnan(error) or math.isnan(samples) or samples < FEWEST:
        return NONE
    if metric in SHARES_OF_ANSWERS and 0 <= value <= 1:
        return wilson(value * samples, int(samples))
    half = student(int(samples) - 1) * error
    return (value - half, value + half) if half > 0 else NONE
