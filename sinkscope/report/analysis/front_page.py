"""The first page: what a busy reader needs to act, with published values beside it."""

from sinkscope.report import style
from sinkscope.report.analysis.findings import findings
from sinkscope.report.analysis.headline_rows import (
    HEADER,
    PUBLIC_NOTE,
    REFERENCE_NOTE,
    data_line,
    model_line,
    public_rows,
    rows,
)
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, Page, paragraph, table, write
from sinkscope.tables.applicability import sentences
from sinkscope.tables.run_folder import Run

_GAP = 0.014
_SHARES = (3.9, 2.1, 1.45, 1.35, 4.2)
_NO_BACKWARD = "Gradients were not measured (no backward pass): the pages on gradients and bounds are left out."


def draw(run: Run) -> Page:
    """Findings, the headline table, and the published values of this model."""
    page = Page()
    top = paragraph(page, model_line(run), top=0.908, size=style.BODY)
    top = paragraph(page, data_line(run), top=top, size=style.BODY) - _GAP
    for index, sentence in enumerate(findings(run), start=1):
        write(page, LEFT, top - 0.0175, f"{index}", size=style.HEADING, weight="bold", color=style.BLUE)
        top = paragraph(page, sentence, top=top, size=style.BODY, left=LEFT + 0.02) - 0.5 * _GAP
    top = _headline(page, run, top - 0.5 * _GAP)
    top = _published(page, run, top - _GAP)
    if not run.backward:
        top = paragraph(page, _NO_BACKWARD, top=top - _GAP, size=style.BODY, weight="bold")
    if sentences(run):
        paragraph(page, " ".join(sentences(run)), top=top - 0.5 * _GAP, size=style.SMALL, weight="bold")
    return page


def _headline(page: Page, run: Run, top: float) -> float:
    cells = [(row.quantity, row.measured, row.baseline, row.vscale, row.remark) for row in rows(run)]
    return table(page, HEADER, cells, top=top, shares=_SHARES, size=style.SMALL, bold=1, spacing=1.6)


def _published(page: Page, run: Run, top: float) -> float:
    known = public_rows(run)
    if not known:
        return paragraph(
            page,
            "No published values of this very model are on file; the reference columns are the nearest comparison.",
            top=top,
            size=style.SMALL,
            color=style.GREY,
        )
    header = ("Published for this model", "This run", "Published", "Source")
    top = table(page, header, known, top=top, shares=(*_SHARES[:3], sum(_SHARES[3:])), size=style.SMALL, bold=1)
    return paragraph(page, PUBLIC_NOTE, top=top - 0.3 * _GAP, size=style.SMALL, color=style.GREY)


ENTRY = Entry("verdict", "Attention sinks, massive activations, gradient sinks", draw, REFERENCE_NOTE)
