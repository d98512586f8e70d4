"""The first page: what moved, by how much, how sure that is."""

from sinkscope.quantities.rows import compared, quantity
from sinkscope.report import style
from sinkscope.report.comparison.matrix import cell, matrix
from sinkscope.report.comparison.runs import rows_of, sides_of
from sinkscope.report.comparison.sentences import manner, outcomes, warning
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page, paragraph
from sinkscope.report.text import printable
from sinkscope.tables.run_folder import Run

_GAP = 0.01
_FEW = 4  # with more runs the table says it all
_FIRST = 0.155
_LAST_NOTE = 0.6  # of the page's height: notes below it would leave no place for the table
_LONGEST_NOTE = 700
_ROOM = 0.78  # of the page's height: below it, the table needs the place of the sentences


def draw(run: Run) -> Page:
    """Notes, a sentence per run, and the table of ratios and verdicts."""
    page = Page()
    top = 0.912
    if run.info["mismatches"]:
        top = paragraph(page, warning(run), top=top, size=style.BODY, weight="bold", color=style.VERMILION) - 0.5 * _GAP
    for note in run.info["notes"]:
        if top < _LAST_NOTE:
            top = paragraph(page, "More notes stand in run.json.", top=top, size=style.BODY)
            break
        top = paragraph(page, printable(note, _LONGEST_NOTE), top=top, size=style.BODY)
    if len(run.info["runs"]) <= _FEW and top > _ROOM:
        for sentence in outcomes(run):
            top = paragraph(page, sentence, top=top, size=style.BODY)
    top = paragraph(page, manner(run), top=top - 0.5 * _GAP, size=style.SMALL, color=style.GREY) - _GAP
    rows, sides = rows_of(run), sides_of(run)
    metrics = [metric for metric in compared() if metric.front_page and (run.backward or not metric.backward)]
    narrow = len(sides) > _FEW
    cells = [
        (metric.title, [cell(rows[metric.name, side.name], narrow=narrow) for side in sides_of(run)])
        for metric in metrics
    ]
    header = [side.label(1000.0) + (" (reference)" if side.number == 1 else "") for side in sides]
    matrix(page, header, cells, top=top, first=_FIRST, lines=4 if narrow else 3)
    return page


ENTRY = Entry(
    "comparison",
    "Side by side: what moved, and how sure that is",
    draw,
    "A cell: value (95 % interval), ratio to the reference (95 % interval), verdict. By the interval of the ratio: "
    "wholly within the margin, unchanged; wholly below (above) it, suppressed (grown), of perplexity better (worse); "
    "below (above) 1 but reaching into the margin, lower (higher), size unclear; else unclear. Perplexity has a margin "
    f"of {quantity('perplexity').margin}. Norms are means over layers; early are positions 1 to 15. All metrics stand "
    "in comparison.parquet.",
    words=True,
)
