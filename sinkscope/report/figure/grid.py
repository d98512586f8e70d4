"""Panels in as many columns as a width takes, in the order in which they are read, each with room for what it shows."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpec, GridSpecBase, SubplotSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sinkscope.report import style
from sinkscope.report.figure.names import break_names
from sinkscope.report.page import Page

_LEAST = 2.1  # inches that a panel and its labels need
_LEAST_MANY = 1.1  # the same where there are so many panels that a column of them would leave the page
_TALLEST = 9.0  # inches of panels on a page of a journal
_LOW, _HIGH = 0.85, 0.62  # a panel's height: at least in inches, at most over the width of its column
_SENTENCE = 0.5  # inches, of a sentence in place of a panel
_NAMES = 0.4  # of a column, for names beside a panel
_FURNITURE = 0.6  # inches that the labels of a row take, before they are measured


Cellular = dict[Axes, tuple[range, range]]  # rows and columns of every panel


class Cells:
    """Where the panels are, and the heights of their rows.

    Attributes:
        rows: for every row a panel that lies in it alone, and the height that it is to have in inches.
        page: the page.
        furniture: inches of the page's height that are no panel; known after `measure`.
    """

    def __init__(self, page: Page, rows: list[tuple[Axes, float]]) -> None:
        self.page, self.rows = page, rows
        self.furniture = 0.0

    @property
    def inches(self) -> float:
        """Height of all rows."""
        return sum(height for _, height in self.rows)

    @property
    def guess(self) -> float:
        """What to leave for labels as long as nothing is measured: more than enough."""
        return 1.5 * _FURNITURE * len(self.rows) + 1.5

    def measure(self, layout: ConstrainedLayoutEngine) -> None:
        """Lays the page out, and measures how much of its height is no panel."""
        layout.execute(self.page)
        whole = self.page.get_figheight()
        self.furniture = whole * (1 - sum(axes.get_position(original=True).height for axes, _ in self.rows))


def regrid(page: Page, width: float) -> Cells:
    """Puts a page's panels into a grid for a width."""
    panels = [axes for axes in page.axes if axes.get_subplotspec() is not None]
    shown = [axes for axes in panels if axes.axison or axes.texts]
    old = _spec(shown[0]).get_gridspec()
    size = _cell(page, old)
    for columns in _columns(old.ncols, width):
        kept = columns == old.ncols
        cells = (
            {axes: (_spec(axes).rowspan, _spec(axes).colspan) for axes in shown} if kept else _flowed(shown, columns)
        )
        wanted = _rows(cells, width / columns, size)
        if sum(height + _FURNITURE for _, height in wanted.values()) < _TALLEST:
            break
    ratios = old.get_width_ratios() if kept else None
    if not kept:
        _spell_out(shown)
    count = max(rows.stop for rows, _ in cells.values())
    heights = [wanted[row][1] if row in wanted else _LOW for row in range(count)]
    grid = GridSpec(count, columns, figure=page, height_ratios=heights, width_ratios=ratios)
    for axes, (rows, across) in cells.items():
        axes.set_subplotspec(grid[rows.start : rows.stop, across.start : across.stop])
    for axes in panels:
        if axes not in cells:  # nothing is drawn there; a colour bar may know it as one of its panels
            axes.set_subplotspec(grid[-1, -1])
    return Cells(page, [wanted[row] for row in sorted(wanted)])


def _spec(axes: Axes) -> SubplotSpec:
    spec = axes.get_subplotspec()
    assert spec is not None  # noqa: S101  (panels alone are asked)
    return spec


def _cell(page: Page, grid: GridSpecBase) -> dict[int, float]:
    """Height over width of the cells of each of the page's rows."""
    engine = page.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)  # noqa: S101  (as every page has)
    _, _, wide, high = engine.get()["rect"]
    ratios = np.asarray(grid.get_height_ratios() or [1] * grid.nrows, dtype=float)
    heights = high * style.PAGE_INCHES[1] * ratios / ratios.sum()
    return {row: float(height / (wide * style.PAGE_INCHES[0] / grid.ncols)) for row, height in enumerate(heights)}


def _columns(old: int, width: float) -> list[int]:
    """Columns to try for panels that stood in `old`, fewest last lines first; narrow ones where others are too tall.

    A part of the old number comes first, so that what stood side by side stays together.
    """
    most, narrow = max(int(width // _LEAST), 1), max(int(width // _LEAST_MANY), 1)
    if old <= most:
        return [old]
    parts = [part for part in range(most, 0, -1) if old % part == 0 and (part > 1 or most == 1)]
    return [*parts, *range(most, narrow + 1)]


def _rows(cells: Cellular, room: float, size: dict[int, float]) -> dict[int, tuple[Axes, float]]:
    """For every row that has a panel to itself: this panel, and the row's height in inches."""
    wanted: dict[int, tuple[Axes, float]] = {}
    for axes, (rows, across) in cells.items():
        height = _height(axes, room * len(across), size)
        if len(rows) == 1 and height > wanted.get(rows.start, (axes, 0.0))[1]:
            wanted[rows.start] = axes, height
    return wanted


def _as_they_are(shown: list[Axes]) -> Cellular:
    return {axes: (_spec(axes).rowspan, _spec(axes).colspan) for axes in shown}


def _flowed(shown: list[Axes], columns: int) -> Cellular:
    """Panels line by line; one that is left over for the last line has all of it."""
    cells = {axes: (range(n // columns, n // columns + 1), range(n % columns, n % columns + 1))
             for n, axes in enumerate(shown)}  # fmt: skip
    if columns > 1 and len(shown) % columns == 1:
        cells[shown[-1]] = cells[shown[-1]][0], range(columns)
    return cells


def _spell_out(shown: list[Axes]) -> None:
    """Gives every panel the labels and tick labels that it shared with the panels beside and below it."""
    places = {axes: (_spec(axes).rowspan.start, _spec(axes).colspan.start) for axes in shown if axes.axison}
    for axes, (row, column) in places.items():
        below = sorted((r, one.get_xlabel()) for one, (r, c) in places.items() if c == column and r > row)
        left = ((c, one.get_ylabel()) for one, (r, c) in places.items() if r == row and c < column)
        beside = sorted(left, reverse=True)
        if not axes.get_xlabel():
            axes.set_xlabel(next((label for _, label in below if label), ""), fontsize=_size(axes))
        if not axes.get_ylabel():
            axes.set_ylabel(next((label for _, label in beside if label), ""), fontsize=_size(axes))
    for axes in places:
        axes.tick_params(labelbottom=True, labelleft=True)


def _size(axes: Axes) -> float:
    return float(axes.xaxis.label.get_fontsize())


def _height(axes: Axes, room: float, size: dict[int, float]) -> float:
    """Inches that a panel is to be high in a column of `room` inches."""
    if not axes.axison:
        return _SENTENCE
    if axes.get_aspect() != "auto":
        return 0.8 * room
    shape = size.get(_spec(axes).rowspan.start, 1.0) * room
    return max(min(max(shape, _LOW), max(_HIGH * room, _LOW)), break_names(axes, 72 * _NAMES * room))
