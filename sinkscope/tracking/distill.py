"""What a track keeps of one checkpoint's analysis: its quantities, and a few of them by layer."""

from typing import Any

import pandas as pd

from sinkscope.intervals.limits import NONE
from sinkscope.quantities.curves import CURVES
from sinkscope.quantities.rows import tracked
from sinkscope.tables.headline import measured, number
from sinkscope.tables.run_folder import Run
from sinkscope.tracking.intervals import intervals

PATHWAYS = ("q", "k", "v")

Records = dict[str, dict[str, list[Any]]]


def distilled(run: Run, step: int) -> Records:
    """The rows of a checkpoint by table and column, as JSON can hold them.

    Args:
        run: its analysis.
        step: its step.
    """
    frames = {"track": _track(run), "track_layers": _layers(run), "track_pathways": _pathways(run)}
    return {
        name: {"step": [step] * len(frame), **{str(c): frame[c].tolist() for c in frame}}
        for name, frame in frames.items()
    }


def _track(run: Run) -> pd.DataFrame:
    numbers = {row.name: number(run, row) for row in tracked()}
    for row in tracked():
        if numbers[row.name] is None and not row.headline:  # theta without V-scale
            del numbers[row.name]
    limits = intervals(run)
    return pd.DataFrame(
        {
            "metric": list(numbers),
            "value": pd.Series(list(numbers.values()), dtype="float64"),
            "low": [limits.get(name, NONE)[0] for name in numbers],
            "high": [limits.get(name, NONE)[1] for name in numbers],
        }
    )


def _layers(run: Run) -> pd.DataFrame:
    frames, tables = [], measured(run)
    for name, curve in CURVES.items():
        values = curve(tables)
        if values.empty:  # theta without V-scale
            continue
        frames.append(pd.DataFrame({"layer": values.index, "metric": name, "value": values.to_numpy()}))
    return pd.concat(frames)


def _pathways(run: Run) -> pd.DataFrame:
    rows = run["positions"]
    rows = rows[rows["site"].isin(PATHWAYS)]
    return rows.groupby(["site", "position"])["grad_norm"].mean().reset_index()
