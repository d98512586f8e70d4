"""What a training logs of every step, and what of it is unusual.

A loss spike is a step whose loss exceeds the median of the last 100 steps by more than 8 times their median absolute
deviation (and by more than 1 % of the median, so that a flat curve has no spikes): both measures ignore earlier spikes.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sinkscope.files.failures import explained_failures
from sinkscope.files.whole import building_file

_RECENT = 100
_ENOUGH = 20
_DEVIATIONS = 8.0
_LEAST = 0.01


def is_spike(loss: float, before: Sequence[float]) -> bool:
    """Whether a step's loss is a spike.

    Args:
        loss: in nats.
        before: the losses of the steps before it, in order.
    """
    recent = before[-_RECENT:]
    if len(recent) < _ENOUGH:
        return False
    middle = statistics.median(recent)
    spread = statistics.median(abs(value - middle) for value in recent)
    return loss > middle + max(_DEVIATIONS * spread, _LEAST * abs(middle))


def write_metrics(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes metrics.parquet whole: one row per step; null where a step did not measure a column."""
    with explained_failures(path), building_file(path) as building:
        pd.DataFrame(rows).to_parquet(building, index=False)


def in_words(rows: list[dict[str, Any]]) -> str:
    """How steady a training was: clipping and spikes."""
    clipped = sum(bool(row["clipped"]) for row in rows) / len(rows)
    spikes = [row["step"] for row in rows if row["spike"]]
    at = f", the first at step {spikes[0]}" if spikes else ""
    return f"gradients clipped in {100 * clipped:.1f} % of {len(rows)} steps; {len(spikes)} loss spikes{at}"
