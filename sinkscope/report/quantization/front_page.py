"""The first page: what each method costs each model, in words and as a table."""

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page, numbered, paragraph, table
from sinkscope.report.quantization.sentences import cells, findings, header, text_line
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run

_GAP = 0.012
_SHARES = (2.9, 1.9, 0.75, 0.75, 1.15, 0.9, 1.95, 4.1)
_LOWEST = 0.135
_SPACING = 1.45


def draw(run: Run) -> Page:
    """A sentence per model, then a row per model and method."""
    page = Page()
    top = paragraph(page, text_line(run), top=0.908, size=style.BODY) - _GAP
    half = 0.5  # of the page goes to sentences at most, so that the table has a place
    top = numbered(page, findings(run), top=top, size=style.BODY, gap=0.5 * _GAP, lowest=half)
    rows = cells(run)
    step = style.SMALL * _SPACING / style.POINTS[1]
    fit = int((top - _GAP - _LOWEST) / step) - 2
    titles = header(run)
    end = table(page, titles, rows[:fit], top=top - _GAP, shares=_SHARES[-len(titles):], size=style.SMALL,
                bold=titles.index("Perplexity"), spacing=_SPACING)  # fmt: skip
    if len(rows) > fit:
        rest = f"and {number(len(rows) - fit)} more rows in quantization.parquet"
        paragraph(page, rest, top=end, size=style.SMALL, color=style.GREY)
    return page


ENTRY = Entry(
    "verdict",
    "What quantization costs",
    draw,
    "Loss: mean next-token cross-entropy; perplexity is its exponential, per token. Interval: 95 %, over sequences, "
    "paired with the unquantized model. A minus B: delta of A less that of B, of models that read the same windows. W "
    "and A bits: weights and activations; empty where they stay as they are. wNaM are this project's probes, which "
    "round values and compute in the model's dtype: they show the cost of rounding, not the speed of a kernel.",
    words=True,
)
