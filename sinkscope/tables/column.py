"""What a declared table is made of."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """One column: its name, pandas dtype, unit (empty for pure numbers and names), meaning and least whole number.

    `added` is true of columns that came after the first runs of this schema, which lack it: null there, always written.
    """

    name: str
    dtype: str
    unit: str
    meaning: str
    least: int = 0
    added: bool = False


@dataclass(frozen=True)
class Table:
    """One table: its name, what a row is, and its columns in order."""

    name: str
    meaning: str
    columns: tuple[Column, ...]


def ints(name: str, meaning: str, unit: str = "", *, least: int = 0) -> Column:
    """Whole numbers, never null."""
    return Column(name, "int64", unit, meaning, least)


def floats(name: str, meaning: str, unit: str = "", *, added: bool = False) -> Column:
    """Floating-point numbers; NaN is null."""
    return Column(name, "float64", unit, meaning, added=added)


def texts(name: str, meaning: str, *, added: bool = False) -> Column:
    """Text."""
    return Column(name, "string", "", meaning, added=added)
