"""The tables as documentation, printed from their declaration so that the two cannot disagree.

python -m sinkscope.tables.reference > docs/tables.md
"""

import sys

from sinkscope.quantities.reference import markdown_table
from sinkscope.sites import Site
from sinkscope.tables.column import Table
from sinkscope.tables.columns import TABLES

_HEADER = """\
# Tables of a run folder

One parquet file per table: `pandas.read_parquet("runs/demo/heads.parquet")`. Layers, heads, positions, sequences and
channels count from 0; positions count from a sequence's first attended token. What was not measured is null. Equation
numbers are those of [definitions.md](definitions.md). This file is generated:
`python -m sinkscope.tables.reference > docs/tables.md`.
"""


def tables_markdown() -> str:
    """All declared tables and the measured sites, in markdown."""
    sections = [_HEADER, *(_section(table) for table in TABLES.values()), _sites()]
    return "\n".join(sections)


def _section(table: Table) -> str:
    rows = [(f"`{column.name}`", column.dtype, column.unit, column.meaning) for column in table.columns]
    return f"## {table.name}\n\nA row: {_lower(table.meaning)}\n\n" + markdown_table(
        ("column", "type", "unit", "meaning"), rows
    )


def _sites() -> str:
    return "## Sites\n\n" + markdown_table(("site", "meaning"), [(f"`{site.value}`", site.meaning) for site in Site])


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


if __name__ == "__main__":
    sys.stdout.write(tables_markdown())
