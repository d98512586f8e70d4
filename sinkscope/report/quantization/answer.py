"""The answer page: which mitigation repairs which format, as sentences and as a grid with intervals."""

import math
from itertools import combinations

from matplotlib.patches import Rectangle

from sinkscope.names import NONE
from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page, numbered, paragraph, write
from sinkscope.report.quantization.mitigated import (
    BETTER,
    SIGNS,
    UNCLEAR,
    UNQUANTIZED,
    WORSE,
    Cell,
    answers,
    choices,
    formats_of,
    grid,
    has_mitigations,
    mitigations_of,
    pair_grid,
)
from sinkscope.report.quantization.sentences import apart, calibration, models, short, signed, text_line
from sinkscope.report.text import counted, fitted, wrapped
from sinkscope.tables.run_folder import Run

_GAP = 0.012
_THIN = "\N{THIN SPACE}"
_LOWEST = 0.135
_LABEL = 0.115  # of the page's width, for the names of rows
_FIT = ((1, 4), (2, 7))  # lines of a cell, and the most formats that so wide cells leave room for
_MOST = 12  # formats that fit at all, in cells of three lines
_HIGHEST = 0.8  # where grids begin at most
_SHADES = {BETTER: "#CFE3F1", WORSE: "#F8DFC0", UNCLEAR: "none"}  # pale blue and orange, apart for any colour vision
_STEP = style.SMALL * 1.32 / style.POINTS[1]


def draw(run: Run) -> Page:
    """Sentences above; below them a grid per model and per two models, as far as there is room."""
    page = Page()
    top = paragraph(page, text_line(run), top=0.908, size=style.SMALL) - _GAP
    names, rows = formats_of(run)[:_MOST], mitigations_of(run)
    lines = next((lines for lines, most in _FIT if len(names) <= most), 3)
    headings = _headings(names)
    height = (0.3 + max(map(len, headings)) + (lines + 0.2) * len(rows)) * _STEP + _GAP
    grids = _grids(run)
    said = answers(run, 1 if len(models(run)) > 1 else 3)
    said += [calibration(run)] if calibration(run) else []
    lowest = min(_HIGHEST, _LOWEST + height * min(len(grids), 2))
    top = numbered(page, said, top=top, size=style.BODY, gap=0.5 * _GAP, lowest=lowest)
    for place, (title, cells) in enumerate(grids):
        if place and top - height + _GAP < _LOWEST:
            rest = counted(len(grids) - place, "more grid")
            paragraph(page, f"{rest} of models or pairs: quantization.parquet and paired.parquet have all", top=top,
                      size=style.SMALL, color=style.GREY)  # fmt: skip
            break
        fit = max(1, int((top - _LOWEST - (0.3 + max(map(len, headings))) * _STEP) / ((lines + 0.2) * _STEP)))
        top = _grid(page, title, cells, names, rows[:fit], lines, top) - _GAP
    else:
        more = len(formats_of(run)) - _MOST
        notes = [f"{counted(more, 'more format')}: quantization.parquet has all"] if more > 0 else []
        for line in [*notes, *choices(run)][: max(0, int((top - _LOWEST) / (1.05 * _STEP)))]:
            top -= 1.02 * _STEP
            text = fitted(line, (RIGHT - LEFT) * style.POINTS[0], style.SMALL)
            write(page, LEFT, top + 0.3 * _STEP, text, size=style.SMALL, color=style.GREY)
    return page


def _grids(run: Run) -> list[tuple[str, dict[tuple[str, str], Cell]]]:
    """The titles and cells of every model, then of every two that read the same windows."""
    of = models(run)
    grids = [(apart(run, model) or "change of loss", grid(run, model)) for model in of]
    pairs = [(f"{short(one)} minus {short(two)}", pair_grid(run, one, two)) for two, one in combinations(of, 2)]
    return [*grids, *((title, cells) for title, cells in pairs if cells)]


def _grid(
    page: Page,
    title: str,
    cells: dict[tuple[str, str], Cell],
    names: list[str],
    rows: list[str],
    lines: int,
    top: float,
) -> float:
    """One grid; returns the top for what comes below."""
    width = (RIGHT - LEFT - _LABEL) / max(len(names), 1)
    headings = _headings(names)
    top -= max(map(len, headings)) * _STEP
    there = [any(method == name for _, method in cells) for name in names]
    free = there.index(True) if True in there else 0  # columns at the left that a long title may cover
    write(page, LEFT, top + 0.3 * _STEP, _fit(title, _LABEL + free * width), size=style.SMALL, weight="bold")
    for column in range(len(names)):
        if not there[column]:
            continue
        for line, part in enumerate(reversed(headings[column])):
            write(page, LEFT + _LABEL + column * width, top + (0.3 + line) * _STEP, _fit(part, width),
                  size=style.SMALL, weight="bold")  # fmt: skip
    for row in rows:
        bottom = top - (lines + 0.2) * _STEP
        write(page, LEFT, top - 0.85 * _STEP, _fit(row, _LABEL), size=style.SMALL)
        for column, name in enumerate(names):
            cell = cells.get((row, name))
            if cell is not None:
                _cell(page, cell, LEFT + _LABEL + column * width, bottom, width, top - bottom, lines)
        top = bottom
    return top


def _headings(names: list[str]) -> list[list[str]]:
    """The formats' names in lines, as wide as a cell."""
    width = ((RIGHT - LEFT - _LABEL) / max(len(names), 1)) * style.POINTS[0] - 0.5 * style.SMALL
    titles = (UNQUANTIZED if name == NONE else name for name in names)
    return [wrapped(title, width, style.SMALL, "bold") for title in titles] or [[""]]


def _cell(page: Page, cell: Cell, left: float, bottom: float, width: float, height: float, lines: int) -> None:
    """A cell: the change with its sign, its interval, shaded where the mitigation makes a difference."""
    page.add_artist(
        Rectangle((left - 0.004, bottom + 0.04 * height), width - 0.002, 0.92 * height, transform=page.transFigure,
                  facecolor=_SHADES[cell.told], edgecolor="none", zorder=0)
    )  # fmt: skip
    value = f"{signed(cell.delta)}{_THIN}{SIGNS[cell.told]}".rstrip() if math.isfinite(cell.delta) else "not finite"
    top, weight = bottom + height, "bold" if cell.best else "normal"
    write(page, left, top - 0.9 * _STEP, value, size=style.SMALL, weight=weight)
    if math.isfinite(cell.low):
        ends = (
            [f"{_short(cell.low)} to {_short(cell.high)}"]
            if lines < 3
            else [f"{_short(cell.low)} to", _short(cell.high)]
        )
        x, first = (left + 0.42 * width, 0) if lines == 1 else (left, 1)
        for place, text in enumerate(ends, start=first):
            write(page, x, top - (0.9 + place) * _STEP, text, size=style.SMALL, color=style.GREY)


def _short(value: float) -> str:
    return f"{value:+.4f}" if abs(value) < 10 else f"{value:+.2f}"


def _fit(text: str, share: float) -> str:
    return fitted(text, share * style.POINTS[0] - 0.5 * style.SMALL, style.SMALL, "bold")


ENTRY = Entry(
    "answer",
    "What repairs the damage of which format",
    draw,
    "Cells: loss of the mitigated, quantized model minus that of the unquantized one, nats per token, with its 95 % "
    "interval, paired over sequences. Blue, down: better than the same format without a mitigation, by the interval of "
    "that difference; orange, up: worse; neither: not told apart. Of two models, the differences of these. Bold: the "
    "best, and what is not told apart from it. Empty: cannot change the format.",
    applies=has_mitigations,
    words=True,
)
