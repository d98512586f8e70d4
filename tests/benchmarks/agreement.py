"""How far two runs of the same analysis agree, in one number.

Every numeric entry of every table is compared. A norm at one position and a norm at the next may differ by a factor of
thousands, and an error in the smaller one of what the larger one's rounding explains means nothing; so an entry's
difference is taken relative to the largest magnitude of its column within its group, the rows of the same layer and
site (or branch, bound, kind). Rows must be the same ones: names, numbers of layers, positions and tokens are equal or
the runs do not agree at all.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from sinkscope.tables.run_folder import Run

_GROUPS = ("layer", "site", "branch", "bound", "kind", "metric")


class Difference(NamedTuple):
    """The largest relative difference, and where: table, column, and the group's names."""

    value: float
    where: str


def largest_difference(first: Run, second: Run) -> Difference:
    """The largest relative difference between two runs' tables; infinite where their rows are not the same."""
    if first.tables.keys() != second.tables.keys():
        return Difference(np.inf, f"tables {sorted(first.tables.keys() ^ second.tables.keys())}")
    found = [_of_table(name, first.tables[name], second.tables[name]) for name in first.tables]
    return max(found, key=lambda difference: difference.value)


def _of_table(name: str, a: pd.DataFrame, b: pd.DataFrame) -> Difference:
    if a.shape != b.shape:
        return Difference(np.inf, f"{name}: {len(a)} rows against {len(b)}")
    groups = [column for column in _GROUPS if column in a.columns]
    largest = Difference(0.0, f"{name}: equal")
    for column in a.columns:
        if not pd.api.types.is_float_dtype(a[column]):
            same = (a[column] == b[column]) | (a[column].isna() & b[column].isna())
            unequal = int((~same.fillna(False)).sum())
            if unequal:
                return Difference(np.inf, f"{name}.{column}: {unequal} unequal")
            continue
        x, y = a[column].to_numpy(dtype=float, na_value=np.nan), b[column].to_numpy(dtype=float, na_value=np.nan)
        if not np.array_equal(np.isfinite(x), np.isfinite(y)):
            return Difference(np.inf, f"{name}.{column}: null in one of them")
        magnitude = pd.Series(np.maximum(np.abs(x), np.abs(y)))
        scale = (
            magnitude.groupby([a[g].to_numpy() for g in groups], dropna=False).transform("max")
            if groups
            else magnitude.max()
        )
        difference = np.nan_to_num(np.abs(x - y) / np.where(np.asarray(scale) > 0, scale, 1.0))
        if difference.size and difference.max() > largest.value:
            row = a.iloc[int(difference.argmax())]
            largest = Difference(
                float(difference.max()), f"{name}.{column} at " + ", ".join(f"{g} {row[g]}" for g in groups)
            )
    return largest
