"""The first page: what each method costs each model, in words and as a table."""

from itertools import accumulate

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page, column_room, numbered, paragraph, table
from sinkscope.report.quantization.along import along_the_window
from sinkscope.report.quantization.sentences import cells, findings, header, models, text_line
from sinkscope.report.text import number, width, wrapped
from sinkscope.tables.run_folder import Run

_GAP = 0.012
_SHARES = (1.9, 0.75, 0.75, 1.15, 0.9, 1.95)  # the columns between the models' names and what shares a scale
_NAMES_AND_SCALES = 7.0
_NAMES = (2.1, 2.9)
_LOWEST = 0.135
_SPACING = 1.45


def draw(run: Run) -> Page:
    """A sentence per model, then a row per model and method."""
    page = Page()
    top = paragraph(page, text_line(run), top=0.908, size=style.BODY) - _GAP
    half = 0.5  # of the page goes to sentences at most, so that the table has a place
    top = numbered(
        page, [*findings(run), *along_the_window(run)], top=top, size=style.BODY, gap=0.5 * _GAP, lowest=half
    )
    rows = cells(run)
    step = style.SMALL * _SPACING / style.POINTS[1]
    titles = header(run)
    several = len(models(run)) > 1
    names = _names_share([row[0] for row in rows] if several else [])
    shares = (*((names,) if several else ()), *_SHARES, _NAMES_AND_SCALES - names)
    room = column_room(shares, len(shares) - 1, size=style.SMALL)
    rows = [(*row[:-1], "\n".join(wrapped(row[-1], room, style.SMALL))) for row in rows]
    ends = accumulate(row[-1].count("\n") + 1 for row in rows)
    fit = sum(end <= int((top - _GAP - _LOWEST) / step) - 2 for end in ends)
    end = table(page, titles, rows[:fit], top=top - _GAP, shares=shares, size=style.SMALL,
                bold=titles.index("Perplexity"), spacing=_SPACING)  # fmt: skip
    if len(rows) > fit:
        rest = f"and {number(len(rows) - fit)} more rows in quantization.parquet"
        paragraph(page, rest, top=end, size=style.SMALL, color=style.GREY)
    return page


def _names_share(names: list[str]) -> float:
    """The share of the models' names: what the longest needs, as long as scales keep their place."""
    points_per_share = (RIGHT - LEFT) * style.POINTS[0] / (sum(_SHARES) + _NAMES_AND_SCALES)
    needed = max((width(name, style.SMALL) for name in names), default=0.0) + 0.7 * style.SMALL
    return min(max(needed / points_per_share, _NAMES[0]), _NAMES[1])


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
