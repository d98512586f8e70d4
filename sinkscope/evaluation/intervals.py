"""95 % intervals of what an evaluation reports."""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

_NORMAL = 1.959963984540054  # 97.5 % quantile of the normal distribution
LEVELS = (2.5, 97.5)


def bootstrap_ratio(numerator: Array, denominator: Array, *, draws: int, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of sum(numerator) / sum(denominator) over units that are drawn with replacement.

    Args:
        numerator: a number per unit [N].
        denominator: a positive number per unit [N].
        draws: bootstrap samples.
        seed: of the samples.

    Returns:
        The ends of the 95 % interval; NaN for a single unit, which shows no spread.
    """
    count = len(numerator)
    if count < 2:
        return math.nan, math.nan
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)
    low, high = np.percentile((times @ numerator) / (times @ denominator), LEVELS)
    return float(low), float(high)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927), which stays inside 0..1 also for 0 or all successes.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n), with p = successes / n and z = 1.96.
    """
    p, z = successes / trials, _NORMAL
    middle = p + z**2 / (2 * trials)
    reach = z * math.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
