"""95 % intervals: Student's t with the spread of bootstrap draws, or of trainings that differ by seed.

A single run is resampled by its sequences. Percentiles of the draws would be the plain answer, and too narrow a one:
with 8 sequences they cover the truth in 83 to 88 % of trials, with 4 in 73 to 80 %, because n units resampled vary by
(n - 1) / n of what n fresh units do, and because a spread that is estimated from few units is itself uncertain.
Student's t repairs both: the draws give the standard error alone, times sqrt(n / (n - 1)), and the interval is the
value -+ t of these with n - 1 degrees of freedom. Where all draws are positive that is done on the logarithm, which
keeps ends positive and suits ratios. docs/intervals.md has the measured coverage.

Several trainings that differ by seed are usually three, too few to be resampled at all; their interval is the same,
with the spread over seeds. It leaves out what other text would change, because all seeds are measured on the same
sequences: the bootstrap of the sequences gives that variance, and it is added.

What does not vary between sequences at all has no interval over them: token 0 that is the same everywhere depends on
no text, and an interval without width would claim a certainty that one training cannot have.
"""

import math
from typing import NamedTuple

import numpy as np

from sinkscope.intervals.draws import Array

DRAWS = 2000
FEWEST = 3  # units below which there is no interval: with two, the spread is known to a factor of dozens

# 97.5 % points of Student's t for 1, 2, ... degrees of freedom; beyond, the tail expansion below is exact to 4 digits.
_T = (12.706205, 4.302653, 3.182446, 2.776445, 2.570582, 2.446912, 2.364624, 2.306004, 2.262157, 2.228139)  # fmt: skip
_Z = 1.959963985
MOST_SEEDS = 1000  # beyond, a number of seeds that would be needed is not said
_FOUR_IN_FIVE = 0.841621234  # the 80 % point of the normal distribution
_SAME = 1e-6  # a spread below this share of the value is rounding

Interval = tuple[float, float]
NONE: Interval = (math.nan, math.nan)


class Drawn(NamedTuple):
    """Bootstrap draws of a quantity.

    Attributes:
        values: one per draw [b].
        units: how many independent units were resampled: sequences, or blocks of them.
    """

    values: Array
    units: int

    @property
    def varies(self) -> bool:
        """Whether there is anything that other text would change, beyond rounding."""
        return bool(np.ptp(self.values) > _SAME * abs(float(self.values.mean())))


def resampled(value: float, drawn: Drawn | None) -> Interval:
    """The interval of a value from its bootstrap draws; none where the draws do not vary, else as `from_draws`."""
    return from_draws(value, drawn) if drawn is not None and drawn.varies else NONE


def from_draws(value: float, drawn: Drawn | None) -> Interval:
    """The interval of a value, or of a ratio of two that vary together, from its bootstrap draws.

    Args:
        value: as measured.
        drawn: its draws.

    Returns:
        Both ends; none with fewer than `FEWEST` units, or where a draw is undefined.
    """
    if drawn is None or drawn.units < FEWEST or not (np.isfinite(drawn.values).all() and math.isfinite(value)):
        return NONE
    reach = student(drawn.units - 1) * math.sqrt(drawn.units / (drawn.units - 1))
    if value > 0 and (drawn.values > 0).all():
        half = reach * float(np.log(drawn.values).std())
        return value * math.exp(-half), value * math.exp(min(half, 700.0))
    half = reach * float(drawn.values.std())
    low = value - half
    return (max(low, 0.0) if (drawn.values >= 0).all() else low), value + half


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


def spread_of_paired_ratio(above: Array, below: Array) -> float:
    """Variance of the logarithm of mean(above) / mean(below), to first order, where the n-th values are a pair.

    That of the mean of above_n / mean(above) - below_n / mean(below): what the two of a pair have in common cancels.
    """
    a, b = float(above.mean()), float(below.mean())
    if len(above) != len(below) or len(above) < 2 or not (a > 0 and b > 0):
        return math.nan
    return float((above / a - below / b).var(ddof=1)) / len(above)


def seeds_needed(ratio: float, of_one: float, text: float) -> float:
    """The smallest number of seeds whose interval would leave out 1 in four of five repetitions.

    With n seeds the logarithm of the ratio scatters by s(n) = sqrt(of_one / n + text) around the true one, and the
    interval reaches t s(n) to both sides. Where the true ratio is the measured one, 1 is left out in half of all
    repetitions if |log ratio| = t s(n), and in four of five if |log ratio| = (t + 0.84) s(n). That takes
    s(n) for known: with n = 2, 3 and 4, where it is estimated badly, it is 71, 74 and 76 % and not 80 (simulated).

    Args:
        ratio: as measured.
        of_one: the variance of its logarithm that one seed has (of n seeds: divided by n).
        text: the variance that sequences add, whatever the number of seeds.

    Returns:
        The number; NaN where `MOST_SEEDS` are not enough, or where a variance is not known.
    """
    if not ratio > 0 or math.isnan(of_one + text):
        return math.nan
    reached = (
        n
        for n in range(2, MOST_SEEDS + 1)
        if abs(math.log(ratio)) > (student(n - 1) + _FOUR_IN_FIVE) * math.sqrt(of_one / n + text)
    )
    return float(next(reached, math.nan))


def text_hides(ratio: float, of_one: float, text: float) -> bool:
    """Whether it is the text alone that no number of seeds gets past: without its part some would do.

    Args:
        ratio: as measured.
        of_one: the variance of its logarithm that one seed has.
        text: the variance that sequences add.
    """
    return math.isnan(seeds_needed(ratio, of_one, text)) and not math.isnan(seeds_needed(ratio, of_one, 0.0))


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


def log_variance(drawn: Drawn | None) -> float:
    """Variance of the draws' logarithm: what resampling the text contributes; 0 where there are no draws.

    NaN where a draw is undefined or not positive.
    """
    if drawn is None:
        return 0.0
    if not (np.isfinite(drawn.values).all() and (drawn.values > 0).all()):
        return math.nan
    return float(np.log(drawn.values).var()) * _fresh(drawn.units)


def variance(drawn: Drawn | None) -> float:
    """Variance of the draws; 0 where there are none."""
    return 0.0 if drawn is None else float(drawn.values.var()) * _fresh(drawn.units)


def _fresh(units: int) -> float:
    """How much more fresh units vary than resampled ones."""
    return units / (units - 1) if units > 1 else 1.0
