"""Every table and every column in it, declared once.

The declaration is the contract between rooms: rows are built by it, files are read by it, and the documentation prints
it. `frame` refuses columns that are missing, extra or out of order, so that a table and its declaration cannot drift
apart. Layers, heads, positions, sequences and channels count from 0; positions count from a sequence's first attended
token. Equation numbers are those of docs/definitions.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sinkscope.tables.column import Table
from sinkscope.tables.declared import (
    ablation,
    analysis,
    comparison,
    evaluation,
    monitor,
    quantization,
    reproduction,
    track,
)

BY_KIND: dict[str, tuple[Table, ...]] = {
    "analysis": analysis.TABLES,
    "comparison": comparison.TABLES,
    "evaluation": evaluation.TABLES,
    "monitor": monitor.TABLES,
    "track": track.TABLES,
    "quantization": quantization.TABLES,
    "ablation": ablation.TABLES,
    "reproduction": reproduction.TABLES,
}
TABLES: dict[str, Table] = {table.name: table for tables in BY_KIND.values() for table in tables}


def frame(name: str, columns: Mapping[str, Sequence[Any] | Any]) -> pd.DataFrame:
    """Builds a table, checked against its declaration.

    Args:
        name: a key of `TABLES`.
        columns: exactly the declared columns, in order, of equal length.

    Raises:
        ValueError: if the columns are not the declared ones.
    """
    declared = TABLES[name].columns
    if list(columns) != [column.name for column in declared]:
        raise ValueError(f"table {name} has columns {[c.name for c in declared]}, not {list(columns)}")
    return pd.DataFrame({column.name: pd.Series(columns[column.name], dtype=column.dtype) for column in declared})
