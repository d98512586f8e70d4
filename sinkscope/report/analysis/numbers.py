"""All headline numbers, with the paper's beside them where they compare."""

from collections.abc import Sequence

from sinkscope.report import style
from sinkscope.report.analysis.headline_rows import HEADER, REFERENCE_NOTE, Row, rows
from sinkscope.report.entry import Entry
from sinkscope.report.page import TOP, Page, table
from sinkscope.tables.run_folder import Run

SHARES = (3.9, 2.1, 1.45, 1.35, 4.2)  # widths of the columns, relative to each other


def draw(run: Run) -> Page:
    """The headline table, whole."""
    page = Page()
    number_table(page, rows(run), TOP, spacing=1.9)
    return page


def number_table(page: Page, shown: Sequence[Row], top: float, spacing: float = 1.45) -> float:
    """Some rows as a table below `top`; returns the top for what comes below."""
    cells = [(row.quantity, row.measured, row.baseline, row.vscale, row.remark) for row in shown]
    return table(page, HEADER, cells, top=top, shares=SHARES, size=style.SMALL, bold=1, spacing=spacing)


ENTRY = Entry("numbers", "The headline numbers", draw, REFERENCE_NOTE, words=True)
