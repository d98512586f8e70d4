"""Building a declared table from blocks of rows."""

from typing import Any

import numpy as np
import pandas as pd

from sinkscope.tables.columns import TABLES, frame


class Rows:
    """Collects blocks of rows of one table.

    Usage::

        rows = Rows("positions")
        rows.add(layer=0, site="h_in", position=np.arange(8), norm=norms, norm_max=largest, grad_norm=np.nan)
        table = rows.frame()
    """

    def __init__(self, table: str) -> None:
        self.table = table
        self._names = [column.name for column in TABLES[table].columns]
        self._blocks: dict[str, list[np.ndarray[Any, Any]]] = {name: [] for name in self._names}

    def add(self, **columns: Any) -> None:
        """Adds a block: arrays of one length, scalars repeated to it; all scalars make a single row.

        Raises:
            ValueError: if the columns are not the table's.
        """
        if list(columns) != self._names:
            raise ValueError(f"table {self.table} has columns {self._names}, not {list(columns)}")
        arrays = [np.atleast_1d(np.asarray(value, dtype=_kind(value))) for value in columns.values()]
        for name, array in zip(self._names, np.broadcast_arrays(*arrays), strict=True):
            self._blocks[name].append(array)

    def frame(self) -> pd.DataFrame:
        """The table, checked against its declaration; empty if nothing was added."""
        joined: dict[str, Any] = {
            name: np.concatenate(blocks) if blocks else [] for name, blocks in self._blocks.items()
        }
        return frame(self.table, joined)


def _kind(value: Any) -> Any:
    if value is None or isinstance(value, str) or (isinstance(value, list) and value and isinstance(value[0], str)):
        return object
    return None
