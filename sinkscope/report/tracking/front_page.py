"""Page 1: what appeared when, in words and in a table, and the numbers at a few checkpoints."""

from sinkscope.report import style
from sinkscope.report.analysis.headline_rows import data_line, model_line
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page, numbered, paragraph, table
from sinkscope.report.tracking.sentences import appearance_cells, progress_cells, sentences
from sinkscope.tables.run_folder import Run

_GAP = 0.014


def draw(run: Run) -> Page:
    """Sentences, the table of appearances, the table of numbers."""
    page = Page()
    top = paragraph(page, model_line(run), top=0.908, size=style.BODY)
    top = paragraph(page, data_line(run), top=top, size=style.BODY) - _GAP
    top = numbered(page, sentences(run), top=top, size=style.BODY, gap=0.5 * _GAP)
    header = ("Phenomenon", "Seen where", "Appeared", "Lasting from", "Order")
    shares = (2.2, 2.9, 3.2, 1.5, 1.4)
    top = table(page, header, appearance_cells(run), top=top - 0.5 * _GAP, shares=shares, size=style.SMALL, bold=2,
                spacing=1.6)  # fmt: skip
    titles, rows = progress_cells(run)
    widths = (3.2, *(1.4,) * (len(titles) - 1))
    table(page, titles, rows, top=top - _GAP, shares=widths, size=style.SMALL, spacing=1.6)
    return page


ENTRY = Entry(
    "overview",
    "When sinks, gradient sinks and massive activations appear",
    draw,
    "A phenomenon appeared after the last checkpoint without it and by the first with it; those that appeared between "
    "the same two checkpoints have no known order. Thresholds on continuous measures are a choice, stated in the "
    "table. Appearing earlier does not make one thing the cause of another. Equation numbers: docs/definitions.md.",
    words=True,
)
