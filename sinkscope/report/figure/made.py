"""One figure of a run: as the report's page, or alone and as wide as a column of a paper.

A page is drawn as for the report, then its furniture is taken off and its panels are laid out anew: `grid` puts them
into as many columns as the width takes, `sizes` makes letters and lines small, `keys` puts the legends below, `labels`
breaks titles and thins out ticks until nothing runs into anything else. What an entry draws needs no second form.
"""

import warnings
from typing import cast

from matplotlib.layout_engine import ConstrainedLayoutEngine

from sinkscope.errors import RequestError
from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.figure.grid import regrid
from sinkscope.report.figure.keys import Keys
from sinkscope.report.figure.labels import Labels
from sinkscope.report.figure.sizes import shrink
from sinkscope.report.kinds import kind_of
from sinkscope.report.page import Page
from sinkscope.report.render import page_of
from sinkscope.report.text import listed
from sinkscope.tables.run_folder import Run

STYLES = ("page", "paper")
COLUMN, TEXT = 3.3, 6.8  # inches: a column of a paper with two, and the width of its text
NARROWEST, WIDEST = COLUMN, 11.0
_PASSES = 5  # at most: labels ask for room, and room decides how labels break
_LONG_NAMES = 2  # layouts before names are cut
_PAD = 0.03  # inches around a panel with its labels


def drawable(run: Run) -> list[Entry]:
    """What of a run's report can stand alone: its pages but those of text."""
    return [entry for entry in paged(run) if not entry.words]


def paged(run: Run) -> list[Entry]:
    """The pages of a run's report."""
    return [entry for entry in kind_of(run).figures if entry.applies_to(run)]


def check_style(style_name: str) -> None:
    """Refuses a style that figures are not drawn in.

    Raises:
        RequestError: if it is none.
    """
    if style_name not in STYLES:
        raise RequestError(f"`style` is {' or '.join(STYLES)}, not '{style_name}'")


def check_width(width: float) -> None:
    """Refuses a width that figures are not made for.

    Raises:
        RequestError: if it is none.
    """
    if not NARROWEST <= width <= WIDEST:
        raise RequestError(f"a figure is {NARROWEST:g} to {WIDEST:g} inches wide, and `width` is {width:g}")


def figure(run: Run, name: str, style_name: str = "page", width: float = COLUMN) -> Page:
    """Draws one figure.

    Args:
        run: whose.
        name: of the figure, as its file is called.
        style_name: `page` as in the report, or `paper`.
        width: inches, of a figure for a paper.

    Raises:
        RequestError: for an unknown name or style, a page of text that is asked for as a figure, or a width outside
            of 3.3 to 11 inches.
    """
    check_style(style_name)
    check_width(width)
    entry = _entry(run, name, style_name)
    if style_name == "paper":
        return alone(entry, run, width)
    return page_of(run, entry)


def alone(entry: Entry, run: Run, width: float) -> Page:
    """A figure's panels at a width, its layout computed once and kept."""
    with style.drawing():
        page = entry.draw(run)
        for artist in (*page.texts, *page.artists, *page.lines, *page.patches):
            artist.remove()
        keys = Keys(page)
        shrink(page)
        cells = regrid(page, width)
        labels = Labels(page, cells)
        page.set_layout_engine(ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD, wspace=0.02, hspace=0.02))
        layout = cast("ConstrainedLayoutEngine", page.get_layout_engine())
        for number in range(_PASSES):
            page.set_size_inches(width, cells.inches + (cells.furniture if number else cells.guess))
            keys.place(width)
            with warnings.catch_warnings():
                if number < _LONG_NAMES:  # they may leave no room; the last layout would say so
                    warnings.simplefilter("ignore")
                layout.execute(page)
            changed = labels.fit(thin=number > 0)
            keys.below()
            cells.measure(layout)
            if number and not changed:
                break
        page.set_size_inches(width, cells.inches + cells.furniture)
        layout.execute(page)
        _hold(page, layout)
        page.set_layout_engine(None)
        for axes in page.axes:  # as on pages: the solver's last bits vary
            left, bottom, wide, high = (round(float(side), 6) for side in axes.get_position(original=True).bounds)
            axes.set_position((left, bottom, wide, high))
    return page


def _hold(page: Page, layout: ConstrainedLayoutEngine) -> None:
    """Gives a page the room that its layout forgot, as for the titles of square panels."""
    wide, high = page.get_size_inches()
    box = page.get_tightbbox()
    left, right = max(-box.x0, 0.0), max(box.x1 - wide, 0.0)
    bottom, top = max(-box.y0, 0.0), max(box.y1 - high, 0.0)
    if left + right + bottom + top > 0:
        high += bottom + top
        page.set_figheight(high)
        layout.set(rect=(left / wide, bottom / high, 1 - (left + right) / wide, 1 - (bottom + top) / high))
        layout.execute(page)


def _entry(run: Run, name: str, style_name: str) -> Entry:
    known = {entry.name: entry for entry in paged(run)}
    figures = [entry.name for entry in (drawable(run) if style_name == "paper" else paged(run))]
    if name not in known:
        every = {entry.name for entry in kind_of(run).figures}
        why = "does not apply to this run" if name in every else "is no figure of this run"
        raise RequestError(f"'{name}' {why}; there are {listed(figures)}")
    if known[name].words and style_name == "paper":
        raise RequestError(f"'{name}' is a page of text, and no figure for a paper; there are {listed(figures)}")
    return known[name]
