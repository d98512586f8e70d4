"""The first page of an evaluation: what was measured, in words and in a table."""

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.evaluation.sentences import HEADER, data_line, findings, model_line, rows
from sinkscope.report.page import Page, numbered, paragraph, table
from sinkscope.tables.run_folder import Run

_GAP = 0.014
_SHARES = (3.6, 1.4, 2.2, 4.3)
_LISTED = 21  # rows that fit on the page


def draw(run: Run) -> Page:
    """Findings and the headline table."""
    page = Page()
    top = paragraph(page, model_line(run), top=0.908, size=style.BODY)
    top = paragraph(page, data_line(run), top=top, size=style.BODY) - _GAP
    top = numbered(page, findings(run), top=top, size=style.BODY, gap=0.5 * _GAP)
    cells = rows(run)
    top = table(page, HEADER, cells[:_LISTED], top=top - 0.5 * _GAP, shares=_SHARES, size=style.SMALL, bold=1,
                spacing=1.6)  # fmt: skip
    if len(cells) > _LISTED:
        more = f"and {len(cells) - _LISTED} more rows, in the tables needle_scores and tasks"
        paragraph(page, more, top=top, size=style.SMALL, color=style.GREY)
    return page


ENTRY = Entry(
    "verdict",
    "Evaluation: perplexity, needles in a haystack, tasks",
    draw,
    "Perplexities normalize the same log-likelihood of whole documents, by tokens, words or bytes; their intervals are "
    "bootstrapped. Needles follow three tasks of RULER with a wording of their own, found where the generated text "
    "contains the value; Wilson's intervals. Tasks: values of lm-evaluation-harness, with intervals over its "
    "questions. The definitions are in docs/evaluation.md.",
    words=True,
)
