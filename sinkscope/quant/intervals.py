"""Confidence intervals by resampling sequences.

Sequences are the independent units, so whole sequences are drawn with replacement. A change of the loss is resampled in
pairs: both models' losses of the sequences drawn. What the sequences have in common (some texts are harder than others)
then cancels, and the interval of the change is far narrower than those of the two losses.
"""

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
COVERAGE = 0.95

Floats = NDArray[np.float64]


def interval(sums: Floats, counts: Floats, *, seed: int) -> tuple[float, float]:
    """Percentile bootstrap of sum(sums) / sum(counts).

    For the interval of a change, `sums` are the differences of the two models' sums, sequence by sequence.

    Args:
        sums: a sequence's summed loss in nats, [N].
        counts: its number of targets, [N].
        seed: of the resampling; the same seed draws the same sequences for every method.

    Returns:
        Lower and upper end; both NaN with fewer than 2 sequences, or where a loss is not finite.
    """
    if len(sums) < 2 or not np.isfinite(sums).all():
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for block in np.array_split(np.arange(RESAMPLES), max(1, RESAMPLES * len(sums) // 4_000_000)):
        drawn = generator.integers(0, len(sums), (len(block), len(sums)))
        means[block] = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [(1 - COVERAGE) / 2, (1 + COVERAGE) / 2])
    return float(low), float(high)
