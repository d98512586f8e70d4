"""How far headline numbers would move on other text of the same kind: the bootstrap of a comparison, per checkpoint.

Checkpoints are measured on the same windows with the same draws, so differences between them are surer than the
intervals of each suggest.
"""

import math

from sinkscope.intervals.limits import Interval, resampled
from sinkscope.intervals.sample import Resampled, Sample
from sinkscope.quantities.rows import tracked
from sinkscope.tables.run_folder import Run

DRAWS, SEED = 400, 0


def intervals(run: Run) -> dict[str, Interval]:
    """95 % intervals of headline numbers of an analysis; numbers that resampling does not reach are absent."""
    sample = Resampled(run, DRAWS, SEED, 0)
    whole = Sample(run)
    limits = {
        row.name: resampled(float(row.over_layers(whole)[0]), sample.drawn(row.over_layers))
        for row in tracked()
        if row.over_layers is not None
    }
    return {name: ends for name, ends in limits.items() if not math.isnan(ends[0])}
