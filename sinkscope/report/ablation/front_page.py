"""The first page: what is lost with each kind of outlier, in words and as a table."""

from sinkscope.report import style
from sinkscope.report.ablation.sentences import HEADER, cells, findings, text_line
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page, numbered, paragraph, table
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run

_GAP = 0.010
_SHARES = (1.5, 2.4, 0.5, 1.1, 0.9, 1.9, 0.9, 1.9, 1.8, 1.8)
_LOWEST = 0.135
_SPACING = 1.4
_ROOM = 0.36  # of the page that goes to sentences at most, so that the table has a place


def draw(run: Run) -> Page:
    """Sentences, then a row per intervention."""
    page = Page()
    top = paragraph(page, text_line(run), top=0.908, size=style.BODY) - _GAP
    top = numbered(page, findings(run), top=top, size=style.SMALL, gap=0.5 * _GAP, lowest=1 - _ROOM)
    rows = cells(run)
    step = style.SMALL * _SPACING / style.POINTS[1]
    fit = int((top - _GAP - _LOWEST) / step) - 2
    end = table(page, HEADER, rows[:fit], top=top - _GAP, shares=_SHARES, size=style.SMALL, bold=0, spacing=_SPACING)
    if len(rows) > fit:
        rest = f"and {number(len(rows) - fit)} more rows in ablations.parquet"
        paragraph(page, rest, top=end, size=style.SMALL, color=style.GREY)
    return page


ENTRY = Entry(
    "verdict",
    "What the outliers do",
    draw,
    "Perplexity: exponential of the mean loss per token. Intervals: 95 %, over sequences, paired with the untouched "
    "model; those of controls cover their draws too. Verdicts are those of `compare` on ratios of perplexities: "
    "unchanged is within the margin. A first token that is gone, or added, is compared on tokens whose predecessor is "
    "the same. That something is lost with an outlier says what the trained model uses it for, not why training made "
    "it.",
    words=True,
)
