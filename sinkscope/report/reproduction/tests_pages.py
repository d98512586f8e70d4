"""Every test with its number, interval, bound and verdict, over as many pages as they take."""

from collections.abc import Callable
from typing import Any

from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.reproduction.ruled import Columns, ruled, sheets
from sinkscope.report.reproduction.words import bound_in_words, found_in_words, why
from sinkscope.tables.run_folder import Run

_COLUMNS = Columns(
    ("", "claimed", "number (95 % interval)", "claimed side", "verdict", "what is missing", "paper"),
    (0.03, 0.28, 0.215, 0.095, 0.115, 0.145, 0.13),
)
_PAGES = 4


def _rows(run: Run) -> list[tuple[str, ...]]:
    tests: Any = run["tests"].to_dict("records")
    return [
        (str(row["claim"]), row["says"], found_in_words(row), bound_in_words(row), row["verdict"], why(row),
         row["paper"] or "-")
        for row in tests
    ]  # fmt: skip


def _draw(sheet: int) -> Callable[[Run], Page]:
    def draw(run: Run) -> Page:
        page = Page()
        ruled(page, _COLUMNS, sheets(_COLUMNS, _rows(run))[sheet])
        return page

    return draw


ENTRIES = tuple(
    Entry(
        "tests" if sheet == 0 else f"tests_{sheet + 1}",
        "Every test" + ("" if sheet == 0 else f", continued ({sheet + 1})"),
        _draw(sheet),
        "Numbers are means over seeds, geometric where logarithms are compared; intervals over seeds are Student's t "
        "of pairs. From one training they are over sequences or blocks of them, or over layers where gradients are "
        "summed over all sequences, and do not say what another training would show.",
        applies=lambda run, sheet=sheet: len(sheets(_COLUMNS, _rows(run))) > sheet,  # type: ignore[misc]
        words=True,
    )
    for sheet in range(_PAGES)
)
