"""How far headline numbers would move on other text of the same kind: the bootstrap of a comparison, per checkpoint.

Checkpoints are measured on the same windows with the same draws, so differences between them are surer than the
intervals of each suggest.
"""

import math

from sinkscope.comparison.metrics import METRICS
from sinkscope.intervals.limits import Interval, percentiles
from sinkscope.intervals.sample import Resampled
from sinkscope.tables.run_folder import Run

DRAWS, SEED = 400, 0


def intervals(run: Run) -> dict[str, Interval]:
    """95 % intervals of headline numbers of an analysis; numbers that resampling does not reach are absent."""
    sample = Resampled(run, DRAWS, SEED, 0)
    found = {metric.name: percentiles(metric.of(sample)) for metric in METRICS if metric.of is not None}
    return {name: ends for name, ends in found.items() if not math.isnan(ends[0])}
