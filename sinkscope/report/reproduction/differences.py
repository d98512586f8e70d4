"""What differs from the paper's setting, and how to make the report again."""

from collections.abc import Callable

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page, paragraph
from sinkscope.report.published import PAPER
from sinkscope.report.reproduction.ruled import TOP, Columns, ruled, sheets
from sinkscope.report.reproduction.words import made_in_words
from sinkscope.report.text import printable
from sinkscope.tables.run_folder import Run

_NOTES = Columns(("", "here, and in the paper"), (0.12, 0.88))
_COMMANDS = Columns(("stage", "the same by hand"), (0.27, 0.73))
_PAGES = 6


def draw(run: Run) -> Page:
    """The notes, each by what it is about."""
    page = Page()
    parts = [note.partition(": ") for note in run.info["notes"]]
    ruled(page, _NOTES, [(about, said) for about, _, said in parts])
    return page


def _rows(run: Run) -> list[tuple[str, str]]:
    return [(str(row.stage), str(row.command)) for row in run["stages"].itertuples()]


def _above(run: Run) -> str:
    whole = printable(run.info.get("command") or "by a program")
    return f"Made by: {whole}; {made_in_words(run)}"


def _commands(sheet: int) -> Callable[[Run], Page]:
    def draw(run: Run) -> Page:
        page = Page()
        top = paragraph(page, _above(run), top=TOP, size=style.SMALL, color=style.GREY) - 0.01 if sheet == 0 else TOP
        ruled(page, _COMMANDS, sheets(_COMMANDS, _rows(run), _FIRST)[sheet], top)
        return page

    return draw


_FIRST = TOP - 0.08
DIFFERENCES = Entry(
    "differences",
    "What differs from the paper's setting, and what that means",
    draw,
    f"The paper is {PAPER}; the recipes paper-0.1b, paper-0.3b and paper-1b have its settings.",
    words=True,
)
COMMANDS = tuple(
    Entry(
        "provenance" if sheet == 0 else f"provenance_{sheet + 1}",
        "How it was made" + ("" if sheet == 0 else f", continued ({sheet + 1})"),
        _commands(sheet),
        "One command makes all of it, and goes on where it was interrupted; each stage can be made by hand too.",
        applies=lambda run, sheet=sheet: len(sheets(_COMMANDS, _rows(run), _FIRST)) > sheet,  # type: ignore[misc]
        words=True,
    )
    for sheet in range(_PAGES)
)
