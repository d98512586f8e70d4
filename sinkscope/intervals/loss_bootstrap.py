"""Confidence intervals of a mean loss by resampling the texts it was measured on.

Sequences or documents are the independent units, so whole ones are drawn with replacement. A change of the loss is
resampled in pairs: both models' losses of the units drawn. What the units have in common (some texts are harder than
others) then cancels, and the interval of the change is far narrower than those of the two losses.
"""

import numpy as np
from numpy.typing import NDArray

DRAWS = 10_000
COVERAGE = 0.95

Array = NDArray[np.float64]


def ratio_interval(sums: Array, counts: Array, *, seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """Percentile bootstrap of sum(sums) / sum(counts).

    For the interval of a change, `sums` are the differences of the two models' sums, unit by unit.

    Args:
        sums: a unit's summed loss in nats, [N].
        counts: its number of targets, or whatever the loss is divided by, [N].
        seed: of the resampling; the same seed draws the same units for every method.
        draws: how many.

    Returns:
        Lower and upper end; both NaN with fewer than 2 units, or where a loss is not finite.
    """
    if len(sums) < 2 or not np.isfinite(sums).all():
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.empty(draws)
    for block in np.array_split(np.arange(draws), max(1, draws * len(sums) // 4_000_000)):
        picked = generator.integers(0, len(sums), (len(block), len(sums)))
        means[block] = sums[picked].sum(1) / counts[picked].sum(1)
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
