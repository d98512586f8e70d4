"""Every table of a run, whole: its numbers compressed beside a heading, to be shown, sorted and searched on request."""

import math
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.report.html.markup import element, escaped, visible
from sinkscope.report.html.packed import compact, island
from sinkscope.report.text import counted, number
from sinkscope.tables.column import Column
from sinkscope.tables.columns import TABLES
from sinkscope.tables.run_folder import Run
from sinkscope.terminal import readable

ROWS = 200_000  # of a table that the file holds
MATERIAL_ROWS = 50_000  # of one that intervals and pictures are made from, and that nobody reads
MATERIAL = ("gradient_blocks", "maps")
DIGITS = 6  # significant ones of a number; the parquet file has all
TOKENS = "token"  # the column that holds tokens, in every table that has one


def tables_html(run: Run) -> str:
    """A part to open for each table, and the tables' contents."""
    return "\n".join(_part(name, table) for name, table in run.tables.items())


def content(table: pd.DataFrame) -> dict[str, Any]:
    """What the page's script reads: the kind of every column, and its values, nulls where there is none."""
    kinds = [_kind(str(name), table[name]) for name in table]
    return {"kinds": kinds, "columns": [_values(table[name], kind) for name, kind in zip(table, kinds, strict=True)]}


def _part(name: str, table: pd.DataFrame) -> str:
    declared = TABLES.get(name)
    columns = {column.name: column for column in declared.columns} if declared is not None else {}
    meaning = f"A row: {declared.meaning}" if declared is not None else ""
    fits = len(table) <= (MATERIAL_ROWS if name in MATERIAL else ROWS)
    if not fits:
        meaning += f" Too long for a page, with {number(len(table))} rows: they are in {name}.parquet beside it."
    summary = element("summary", element("h3", escaped(name)), element("span", counted(len(table), "row")))
    parts = [element("p", escaped(meaning), class_="note"), _meanings(table, columns)]
    if fits:
        head = "".join(
            element("th", escaped(column), scope="col", title=_words(columns.get(str(column)))) for column in table
        )
        shown = element("table", element("thead", element("tr", head)), class_="data", data_rows=f"rows-{name}",
                        aria_label=f"Table {name}")  # fmt: skip
        parts += [element("div", shown, class_="holder"), island(f"rows-{name}", compact(content(table)))]
    return element("details", summary, *parts, id=f"table-{name}", class_="table")


def _meanings(table: pd.DataFrame, columns: dict[str, Column]) -> str:
    known = [columns[str(name)] for name in table if str(name) in columns]
    if not known:
        return ""
    terms = (f"<dt>{escaped(column.name)}</dt><dd>{escaped(_words(column))}</dd>" for column in known)
    return element("details", "<summary>What the columns mean</summary>", element("dl", *terms), class_="meanings")


def _words(column: Column | None) -> str | None:
    return None if column is None else f"{column.meaning}{f' [{column.unit}]' if column.unit else ''}"


def _kind(name: str, values: "pd.Series[Any]") -> str:
    if pd.api.types.is_bool_dtype(values.dtype):
        return "truth"
    if pd.api.types.is_numeric_dtype(values.dtype):
        return "number"
    return "token" if name == TOKENS else "text"


def _values(values: "pd.Series[Any]", kind: str) -> list[Any]:
    if kind == "number" and pd.api.types.is_float_dtype(values.dtype):
        return [_rounded(value) for value in values.to_numpy(dtype=float, na_value=np.nan).tolist()]
    absent = values.isna().tolist()
    present = (None if missing else value for value, missing in zip(values.tolist(), absent, strict=True))
    if kind == "number":
        return [None if value is None else int(value) for value in present]
    if kind == "truth":
        return [None if value is None else int(bool(value)) for value in present]
    write = visible if kind == "token" else readable
    return [None if value is None else write(value) for value in present]


def _rounded(value: float) -> float | str | None:
    """A number to `DIGITS` significant ones; what JSON has no sign for in letters."""
    if math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    return None if math.isnan(value) else "inf" if value > 0 else "-inf"
