"""Tables as they are read from disk: held against their declaration, column by column, before anything is made of them.

A column of another type is refused rather than converted: text that looks like numbers was not written by this
project. Whole numbers count things or number them, so they are not negative, and those that number a model's parts or
its windows stay within what the run says that there is. What is measured on a model is finite, as null stands for what
has no value; perplexities and the ends of a comparison's intervals may be infinite.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from sinkscope.documents.complaint import shown
from sinkscope.errors import SinkscopeError
from sinkscope.tables.column import Column
from sinkscope.tables.columns import BY_KIND, TABLES

# What a column may be stored as, by its declared dtype: kinds of numpy's dtypes, and what that is in words.
_STORED = {
    "int64": ("iu", "whole numbers"),
    "Int64": ("iu", "whole numbers or nulls"),
    "float64": ("fiu", "numbers"),
    "string": ("OUT", "text"),
    "bool": ("b", "true or false"),
    "boolean": ("b", "true, false or null"),
}
_MEASURED = frozenset(table.name for kind in ("analysis", "track") for table in BY_KIND[kind])
_LARGEST_MEASURED = 1e100  # what is made of float32 stays far below
_LARGEST = 2**53  # beyond, floats leave out whole numbers
_MOST = {"layer": 10**6, "head": 10**6, "kv_head": 10**6, "expert": 10**6, "position": 2**31, "sequence": 2**31}


def limits(info: Mapping[str, Any]) -> dict[str, int]:
    """The largest values of columns that number the parts of a run's model and its windows."""
    if info["kind"] not in ("analysis", "track"):  # others are of several models, or cut their text otherwise
        return _MOST
    model, data = info["model"], info["data"]
    return {
        **_MOST,
        "layer": model["layers"],
        "head": model["heads"],
        "kv_head": model["kv_heads"],
        "sequence": data["sequences"],
        "position": data["tokens"],
    }


def read_table(path: Path, name: str, largest: Mapping[str, int]) -> pd.DataFrame:
    """Reads a table of a run folder.

    Args:
        path: the parquet file.
        name: of the table; one that is not declared is read as it is.
        largest: as of `limits`.

    Raises:
        SinkscopeError: if it cannot be read, or is not as declared.
    """
    if not path.is_file():
        raise SinkscopeError(f"{path.parent} lacks the table {path.name}: analyze again")
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # what a damaged file leads to can be of any kind
        raise SinkscopeError(f"{path} is not a whole parquet file: analyze again") from error
    return checked(table, name, str(path), largest) if name in TABLES else table


def from_columns(columns: Mapping[str, list[Any]], name: str, called: str, largest: Mapping[str, int]) -> pd.DataFrame:
    """A table of rows that were kept as lists of values; arguments and errors are those of `checked`."""
    if name not in TABLES:
        raise SinkscopeError(f"{called}: there is no table {shown(name)}")
    if len({len(values) for values in columns.values()}) > 1:
        raise SinkscopeError(f"{called}: the columns of {name} must be of one length")
    return checked(pd.DataFrame(columns), name, called, largest)


def checked(table: pd.DataFrame, name: str, called: str, largest: Mapping[str, int]) -> pd.DataFrame:
    """A table with the declared dtypes.

    Args:
        table: as it was stored.
        name: a key of `TABLES`.
        called: what messages call it.
        largest: as of `limits`.

    Raises:
        SinkscopeError: if a column is missing, of another type, or holds what cannot be.
    """
    if not table.columns.is_unique:
        raise SinkscopeError(f"{called} has two columns of one name")
    columns = {}
    for column in TABLES[name].columns:
        if column.name not in table and column.added:
            table = table.assign(**{column.name: math.nan})
        if column.name not in table:
            raise SinkscopeError(f"{called} lacks the column '{column.name}': analyze again")
        columns[column.name] = _converted(table[column.name], column, called, largest.get(column.name, _LARGEST))
        if name in _MEASURED and column.dtype == "float64" and (table[column.name].abs() > _LARGEST_MEASURED).any():
            raise SinkscopeError(f"{called}: the column '{column.name}' must hold finite numbers: analyze again")
    return table.assign(**columns)


def _converted(values: "pd.Series[Any]", column: Column, called: str, largest: int) -> "pd.Series[Any]":
    kinds, words = _STORED[column.dtype]
    empty = values.isna()
    plain = values.dtype.kind in kinds or bool(empty.all())
    if column.dtype in ("int64", "bool") and empty.any():
        plain = False
    if column.dtype == "string":
        plain = plain and all(isinstance(value, str) for value in values[~empty])
    if not plain:
        raise SinkscopeError(f"{called}: the column '{column.name}' must hold {words}")
    if column.dtype in ("int64", "Int64"):
        known, least = values[~empty], column.least
        for value in known[(known < least) | (known > largest)].head(1):
            words = f"whole numbers from {least} to {largest}, not {shown(value)}"
            raise SinkscopeError(f"{called}: the column '{column.name}' must hold {words}")
    return values.astype(column.dtype)  # type: ignore[call-overload, no-any-return]
