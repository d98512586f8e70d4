"""The intervals that stand in an analysis's headline: over its sequences, by `sinkscope.intervals.limits`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.intervals.limits import DRAWS, resampled
from sinkscope.intervals.sample import Resampled
from sinkscope.quantities.rows import headline_names, in_headline
from sinkscope.tables.headline import headline
from sinkscope.tables.run_folder import Run

_SEED = 0


def headline_with_intervals(tables: Mapping[str, pd.DataFrame], epsilon: float) -> dict[str, Any]:
    """The headline numbers of an analysis, and behind each that has one the ends of its interval.

    Args:
        tables: of the analysis.
        epsilon: threshold on alpha_0 above which a head counts as a sink on average.
    """
    numbers = headline(tables, epsilon)
    sample = Resampled(Run({}, dict(tables)), DRAWS, _SEED, 0)
    whole: dict[str, Any] = {}
    for row in in_headline():
        whole[row.name] = numbers[row.name]
        if row.interval and row.over_layers is not None:
            measured = numbers[row.name]
            ends = resampled(np.nan if measured is None else measured, sample.drawn(row.over_layers))
            whole |= {
                name: None if np.isnan(end) else end for name, end in zip(headline_names(row)[1:], ends, strict=True)
            }
    return whole
