"""docs/tables.md is what the declaration prints."""

from pathlib import Path

from sinkscope.tables.columns import TABLES
from sinkscope.tables.reference import tables_markdown

DOCS = Path(__file__).parents[2] / "docs"


def test_tables_page_is_up_to_date() -> None:
    written = (DOCS / "tables.md").read_text(encoding="utf-8")
    assert written == tables_markdown(), "run: python -m sinkscope.tables.reference > docs/tables.md"


def test_every_table_and_column_is_listed() -> None:
    sections = tables_markdown().split("\n## ")[1:]
    listed = {section.split("\n", 1)[0]: section for section in sections}
    assert [*TABLES, "Sites"] == list(listed)
    for table in TABLES.values():
        for column in table.columns:
            assert f"| `{column.name}` | {column.dtype} |" in listed[table.name]
