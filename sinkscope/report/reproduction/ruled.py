"""A table whose cells are broken into lines instead of cut, and which goes on over pages."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.lines import Line2D

from sinkscope.intervals.verdicts import REFUTED, REPRODUCED, UNDECIDED, UNTESTABLE
from sinkscope.report import style
from sinkscope.report.page import LEFT, RIGHT, Page, write
from sinkscope.report.text import printable, wrapped

COLOURS = {REPRODUCED: style.GREEN, REFUTED: style.VERMILION, UNDECIDED: style.BLUE, UNTESTABLE: style.GREY}
"""Of the verdicts, which are always written out too."""

TOP, LOWEST = 0.9, 0.145  # of the page's height
_GAP = 0.45  # of a line, between rows
_SIZE = style.SMALL
_STEP = _SIZE * 1.28 / style.POINTS[1]
_ROOM = 8.0  # points between columns


@dataclass(frozen=True)
class Columns:
    """Titles and widths, relative to each other, of a table's columns."""

    titles: tuple[str, ...]
    shares: tuple[float, ...]

    def starts(self) -> list[float]:
        """Left ends, and the right end of the last."""
        total = sum(self.shares)
        return [LEFT + (RIGHT - LEFT) * sum(self.shares[:n]) / total for n in range(len(self.shares) + 1)]

    def lines(self, cells: Sequence[str], *, bold: bool = False) -> list[list[str]]:
        """Every cell in lines that fit its column."""
        starts = self.starts()
        rooms = [(b - a) * style.POINTS[0] - _ROOM for a, b in itertools.pairwise(starts)]
        return [
            wrapped(printable(cell), room, _SIZE, "bold" if bold or cell in COLOURS else "normal")
            for cell, room in zip(cells, rooms, strict=True)
        ]


def sheets(columns: Columns, rows: Sequence[Sequence[str]], top: float = TOP) -> list[list[Sequence[str]]]:
    """The rows of each page."""
    pages: list[list[Sequence[str]]] = [[]]
    left = top - LOWEST - 2 * _STEP
    for cells in rows:
        height = (max(map(len, columns.lines(cells))) + _GAP) * _STEP
        if height > left and pages[-1]:
            pages.append([])
            left = TOP - LOWEST - 2 * _STEP
        pages[-1].append(cells)
        left -= height
    return pages


def ruled(page: Page, columns: Columns, rows: Sequence[Sequence[str]], top: float = TOP) -> float:
    """Draws a table; returns the top for whatever comes below."""
    starts = columns.starts()
    titles = columns.lines(columns.titles, bold=True)
    for start, own in zip(starts, titles, strict=False):
        for number, line in enumerate(own, start=1):
            write(page, start, top - number * _STEP, line, size=_SIZE, weight="bold")
    top -= (max(map(len, titles)) + 0.5) * _STEP
    _rule(page, top)
    for cells in rows:
        lines = columns.lines(cells)
        for start, own, cell in zip(starts, lines, cells, strict=False):
            look = {"color": COLOURS[cell], "weight": "bold"} if cell in COLOURS else {}
            for number, line in enumerate(own, start=1):
                write(page, start, top - number * _STEP, line, size=_SIZE, **look)
        top -= (max(map(len, lines)) + _GAP) * _STEP
    _rule(page, top)
    return top


def _rule(page: Page, y: float) -> None:
    page.add_artist(Line2D([LEFT, RIGHT], [y, y], color=style.GREY, linewidth=0.8, transform=page.transFigure))
