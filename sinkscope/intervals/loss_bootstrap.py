"""Confidence intervals of a mean loss by resampling the texts it was measured on.

Sequences or documents are the independent units, so whole ones are drawn with replacement. A change of the loss is
resampled in pairs: both models' losses of the units drawn. What the units have in common (some texts are harder than
others) then cancels, and the interval of the change is far narrower than those of the two losses.

The draws give the standard error; the interval is Student's t, as everywhere (`sinkscope.intervals.limits`).
"""

import math

import numpy as np
from numpy.typing import NDArray

from sinkscope.intervals.limits import FEWEST, NONE, student

DRAWS = 10_000

Array = NDArray[np.float64]


def ratio_interval(sums: Array, counts: Array, *, seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """The 95 % interval of sum(sums) / sum(counts), by a bootstrap over units.

    For the interval of a change, `sums` are the differences of the two models' sums, unit by unit.

    Args:
        sums: a unit's summed loss in nats, [N].
        counts: its number of targets, or whatever the loss is divided by, [N].
        seed: of the resampling; the same seed draws the same units for every method.
        draws: how many.

    Returns:
        Lower and upper end; both NaN with fewer than 3 units, or where a loss is not finite.
    """
    units = len(sums)
    if units < FEWEST or not np.isfinite(sums).all():
        return NONE
    generator = np.random.default_rng(seed)
    ratios = np.empty(draws)
    for block in np.array_split(np.arange(draws), max(1, draws * units // 4_000_000)):
        picked = generator.integers(0, units, (len(block), units))
        ratios[block] = sums[picked].sum(1) / counts[picked].sum(1)
    half = student(units - 1) * math.sqrt(units / (units - 1)) * float(ratios.std())
    value = float(sums.sum() / counts.sum())
    return value - half, value + half
