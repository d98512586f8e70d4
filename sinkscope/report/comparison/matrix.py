"""A table of metrics by runs whose cells have several lines: value, ratio with interval, verdict."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.lines import Line2D

from sinkscope.intervals.verdicts import (
    LARGER,
    NOT_JUDGED,
    NOT_MEASURED,
    REFERENCE,
    SMALLER,
    UNCHANGED,
)
from sinkscope.report import style
from sinkscope.report.page import LEFT, RIGHT, Page, write
from sinkscope.report.text import fitted, number, wrapped

_COLOURS = {
    **dict.fromkeys(SMALLER, style.BLUE),
    **dict.fromkeys(LARGER, style.VERMILION),
    UNCHANGED: style.GREEN,
}
_LEADING = 1.28
_HEAD_LINES = 2
_DECIMAL = (0.1, 10.0)
_LOWEST = 0.12  # of the page's height: what does not fit above the caption is left to the tables


@dataclass(frozen=True)
class Words:
    """A line of a cell."""

    text: str
    bold: bool = False
    colour: str = style.BLACK


Cell = Sequence[Words]


def matrix(
    page: Page,
    header: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Cell]]],
    *,
    top: float,
    first: float,
    lines: int,
    size: float = style.SMALL,
) -> float:
    """Writes the table over the width of the page.

    Args:
        page: the page to write on.
        header: titles of the columns after the first.
        rows: title and cells.
        top: upper end, as a fraction of the page's height.
        first: width of the first column, as a fraction of the page's width.
        lines: lines that every row has room for.
        size: font size in points.

    Returns:
        The top for whatever comes below.
    """
    step = size * _LEADING / style.POINTS[1]
    width = (RIGHT - LEFT - first) / len(header)
    room = width * style.POINTS[0] - 6
    titles_in_lines = [wrapped(title, room, size, "bold")[:_HEAD_LINES] for title in header]
    top -= max(map(len, titles_in_lines), default=1) * step
    for column, parts in enumerate(titles_in_lines):
        for place, part in enumerate(reversed(parts)):
            write(page, LEFT + first + column * width, top + (place + 0.3) * step, part, size=size, weight="bold")
    _rule(page, top, 0.8)
    for title, cells in rows:
        if top - (lines + 0.35) * step < _LOWEST:
            break
        top -= 0.35 * step
        titles = wrapped(title, first * style.POINTS[0] - 8, size, "bold")[:lines]
        for place, text in enumerate(titles):
            write(page, LEFT, top - (place + 0.75) * step, text, size=size, weight="bold")
        for column, cell in enumerate(cells):
            for place, words in enumerate(cell):
                weight = "bold" if words.bold else "normal"
                write(page, LEFT + first + column * width, top - (place + 0.75) * step,
                      fitted(words.text, room, size, weight), size=size, weight=weight, color=words.colour)  # fmt: skip
        top -= lines * step
        _rule(page, top, 0.3)
    return top


def cell(row: dict[str, Any], *, narrow: bool, judged: bool = True) -> Cell:
    """Value, ratio and verdict of a row of the table `comparison`.

    Args:
        row: the row.
        narrow: for many columns: the interval of the ratio gets a line of its own, that of the value is left out.
        judged: whether the verdict is shown.
    """
    if row["verdict"] == NOT_MEASURED:
        return (Words("-", colour=style.GREY),)
    value = Words(f"{number(float(row['value']))}{'' if narrow else _interval(row['low'], row['high'])}", bold=True)
    if row["verdict"] == REFERENCE or (row["verdict"] == NOT_JUDGED and not judged):
        return (value,)
    word = Words(row["verdict"], bold=True, colour=_COLOURS.get(row["verdict"], style.GREY))
    if row["verdict"] == NOT_JUDGED:
        return value, word
    ratio = "no ratio" if row["ratio"] != row["ratio"] else f"x {number(float(row['ratio']))}"
    interval = _interval(row["ratio_low"], row["ratio_high"], _short if narrow else number)
    ratios = [ratio, interval.strip(" ()")] if narrow else [ratio + interval]
    return (value, *(Words(text) for text in ratios), *([word] if judged else []))


def _interval(low: float, high: float, write_number: Callable[[float], str] = number) -> str:
    return f" ({write_number(float(low))} to {write_number(float(high))})" if low == low and high == high else ""


def _short(value: float) -> str:
    """Two decimals where they suffice."""
    return f"{value:.2f}" if _DECIMAL[0] <= value < _DECIMAL[1] else number(value, 2)


def _rule(page: Page, y: float, thickness: float) -> None:
    line = Line2D([LEFT, RIGHT], [y, y], color=style.GREY, linewidth=thickness, transform=page.transFigure)
    page.add_artist(line)
