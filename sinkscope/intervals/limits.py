"""95 % intervals: percentiles of bootstrap draws for single runs, Student's t over runs that differ by seed.

A single run is resampled by its sequences, and its interval holds the middle 95 % of the draws. Several trainings that
differ by seed are usually three, which is too few to be resampled: every ninth draw would hold one of them three times,
and the percentiles would be about a third as wide as they should be. So their interval is Student's t: on the logarithm
where a quantity is positive, and with the degrees of freedom of the smaller of the two groups that are compared.

The spread over seeds leaves out what other text would change, because all seeds are measured on the same sequences. The
bootstrap of the sequences gives that variance, and it is added.
"""

import math

import numpy as np

from sinkscope.intervals.draws import Array

TAIL = 0.025  # on either side of a 95 % interval
DRAWS = 2000

# 97.5 % points of Student's t for 1, 2, ... degrees of freedom; beyond, the tail expansion below is exact to 4 digits.
_T = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139)  # fmt: skip
_Z = 1.959963985

Interval = tuple[float, float]
NONE: Interval = (math.nan, math.nan)


def percentiles(draws: Array | None) -> Interval:
    """The middle 95 % of the draws; none where a draw is undefined."""
    if draws is None or np.isnan(draws).any():
        return NONE
    low, high = np.quantile(draws, (TAIL, 1 - TAIL), method="inverted_cdf")
    return float(low), float(high)


def student(freedom: int) -> float:
    """The 97.5 % point of Student's t."""
    if freedom < 1:
        return math.nan
    if freedom <= len(_T):
        return _T[freedom - 1]
    z, n = _Z, float(freedom)  # Cornish and Fisher's expansion in 1/n
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return z + sum(term / n**power for power, term in enumerate(terms, start=1))


def spread_of_mean(values: Array) -> float:
    """Variance of the logarithm of the mean of positive values, to first order: (s / mean)^2 / n."""
    mean = float(values.mean())
    return float(values.var(ddof=1)) / len(values) / mean**2 if len(values) > 1 and mean > 0 else math.nan


def over_seeds(value: float, variance: float, freedom: int) -> Interval:
    """The value times exp(-+ t sqrt(variance)), the variance being that of the value's logarithm."""
    if not value > 0 or math.isnan(variance):
        return NONE
    half = student(freedom) * math.sqrt(variance)
    return value * math.exp(-half), value * math.exp(min(half, 700.0))


def over_seeds_linear(values: Array, text: float) -> Interval:
    """The mean -+ t sqrt(s^2 / n + text), for quantities of either sign; `text` is the variance that sequences add."""
    if len(values) < 2 or np.isnan(values).any():
        return NONE
    half = student(len(values) - 1) * math.sqrt(float(values.var(ddof=1)) / len(values) + text)
    return float(values.mean()) - half, float(values.mean()) + half


def log_variance(draws: Array | None) -> float:
    """Variance of the draws' logarithm: what resampling the text contributes; 0 where there are no draws.

    NaN where a draw is undefined or not positive.
    """
    if draws is None:
        return 0.0
    if not (np.isfinite(draws).all() and (draws > 0).all()):
        return math.nan
    return float(np.log(draws).var())
