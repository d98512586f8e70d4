"""The first page: what was found, what follows from it, and the numbers, with published values beside them."""

from matplotlib.patches import Rectangle

from sinkscope.report import style
from sinkscope.report.analysis.consequences import consequences
from sinkscope.report.analysis.findings import findings
from sinkscope.report.analysis.headline_rows import (
    PUBLIC_NOTE,
    REFERENCE_NOTE,
    data_line,
    model_line,
    public_rows,
    rows,
)
from sinkscope.report.analysis.numbers import SHARES, number_table
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page, numbered, paragraph, table, write
from sinkscope.tables.applicability import sentences
from sinkscope.tables.run_folder import Run

_GAP = 0.014
_INSET, _NAMES = 0.008, 0.085  # of the box: its margin, and where its texts begin
_NO_BACKWARD = "Gradients were not measured (no backward pass): the pages on gradients and bounds are left out."


def draw(run: Run) -> Page:
    """Findings, their consequences, the chief numbers, and the published values of this model."""
    page = Page()
    top = paragraph(page, model_line(run), top=0.908, size=style.BODY)
    top = paragraph(page, data_line(run), top=top, size=style.BODY) - _GAP
    top = numbered(page, findings(run), top=top, size=style.BODY, gap=0.5 * _GAP)
    top = _consequences(page, run, top - 0.5 * _GAP)
    top = _headline(page, run, top - 0.5 * _GAP)
    top = _published(page, run, top - _GAP)
    if not run.backward:
        top = paragraph(page, _NO_BACKWARD, top=top - _GAP, size=style.BODY, weight="bold")
    if sentences(run):
        paragraph(page, " ".join(sentences(run)), top=top - 0.5 * _GAP, size=style.SMALL, weight="bold")
    return page


def _consequences(page: Page, run: Run, top: float) -> float:
    """A box of what follows for running the model in few bits."""
    start = top
    top -= 0.5 * _GAP
    for name, text in consequences(run):
        write(page, LEFT + _INSET, top - 0.0162, name, size=style.SMALL, weight="bold", color=style.BLUE)
        top = paragraph(page, text, top=top, left=LEFT + _NAMES, right=RIGHT - _INSET, size=style.SMALL)
    top -= 0.5 * _GAP
    box = Rectangle((LEFT, top), RIGHT - LEFT, start - top, facecolor=style.PALE, alpha=0.45, edgecolor=style.GREY,
                    linewidth=0.8, transform=page.transFigure, zorder=-1)  # fmt: skip
    page.add_artist(box)
    return top


def _headline(page: Page, run: Run, top: float) -> float:
    return number_table(page, [row for row in rows(run) if row.chief], top)


def _published(page: Page, run: Run, top: float) -> float:
    known = public_rows(run)
    if not known:
        return top
    header = ("Published for this model", "This run", "Published", "Source")
    top = table(page, header, known, top=top, shares=(*SHARES[:3], sum(SHARES[3:])), size=style.SMALL, bold=1)
    return paragraph(page, PUBLIC_NOTE, top=top - 0.3 * _GAP, size=style.SMALL, color=style.GREY)


ENTRY = Entry("verdict", "Attention sinks, massive activations, gradient sinks", draw, REFERENCE_NOTE, words=True)
