"""A page: title above, figure in the middle, caption below, each in a place of its own.

A page is a plain matplotlib Figure on the Agg canvas, made without pyplot: no global state, no backend to choose, and a
notebook shows it by itself. The panels are laid out by matplotlib's constrained layout inside a fixed rectangle; text
outside the panels is measured and broken before it is placed, so that neither can run into the other.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.text import Text

from sinkscope.report import style
from sinkscope.report.text import fitted, literal, wrapped

LEFT, RIGHT, BOTTOM, TOP = 0.035, 0.965, 0.135, 0.895
_LINE = 1.35  # line height over font size
CAPTION_TOP = 0.115
_FOOT = 0.022


class Page(Figure):
    """A figure of one A4 page.

    Args:
        right: right end of the panels as a fraction of the page's width; less than `RIGHT` leaves room for a table.
        bottom: lower end of the panels as a fraction of the page's height.
        top: upper end of the panels; less than `TOP` leaves room for a key of several lines.
    """

    def __init__(self, right: float = RIGHT, bottom: float = BOTTOM, top: float = TOP) -> None:
        layout = ConstrainedLayoutEngine(
            rect=(LEFT, bottom, right - LEFT, top - bottom), w_pad=0.06, h_pad=0.06, wspace=0.03, hspace=0.04
        )
        super().__init__(figsize=style.PAGE_INCHES, dpi=style.DPI, layout=layout)
        FigureCanvasAgg(self)
        self._labels: list[Artist] = []
        self.keys: list[tuple[Sequence[Artist], str]] = []  # handles in reading order, and a title

    def savefig(self, fname: Any, *args: Any, settings: dict[Any, Any] | None = None, **kwargs: Any) -> None:
        """Saves it in the report's style, whatever the caller's settings: letters stay letters in a PDF.

        Args:
            fname: a file, or something to write to.
            *args: as of matplotlib's `Figure.savefig`.
            settings: of matplotlib, on top of the style.
            **kwargs: as of matplotlib's `Figure.savefig`.
        """
        with style.drawing(), matplotlib.rc_context(settings):
            super().savefig(fname, *args, **kwargs)

    def _repr_png_(self) -> bytes:
        """The page as a notebook shows it."""
        buffer = io.BytesIO()
        with style.drawing():
            self.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()

    @property
    def written(self) -> list[Text]:
        """What is written outside of the panels."""
        return [*self.texts, *(artist for artist in self.artists if isinstance(artist, Text))]

    def key(self, handles: Sequence[Artist], title: str = "") -> None:
        """A legend for all panels, in the free corner beside the title."""
        self.keys.append((handles, title))
        legend = self.legend(
            handles=handles,
            title=title or None,
            loc="upper right",
            bbox_to_anchor=(RIGHT, 0.985),
            ncols=len(handles),
            columnspacing=1.2,
            handletextpad=0.5,
            borderaxespad=0,
        )
        legend.set_in_layout(False)

    def label(self, title: str, subtitle: str, caption: str, foot: str = "") -> None:
        """Writes the title, a line below it, the caption, and a small line at the foot."""
        room = (RIGHT - LEFT) * style.POINTS[0]
        others = len(self.artists)
        write(self, LEFT, 0.953, fitted(title, room, style.TITLE, "bold"), size=style.TITLE, weight="bold")
        write(self, LEFT, 0.921, fitted(subtitle, room, style.SUBTITLE), size=style.SUBTITLE, color=style.GREY)
        paragraph(self, caption, top=CAPTION_TOP, size=style.SMALL)
        write(self, LEFT, _FOOT, fitted(foot, room, style.SMALL), size=style.SMALL, color=style.GREY)
        self._labels = self.artists[others:]

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Leaves out what `label` wrote while a `with` block lasts: a page of HTML says it as text."""
        for line in self._labels:
            line.set_visible(False)
        try:
            yield
        finally:
            for line in self._labels:
                line.set_visible(True)


class LineOfText(Text):
    """One upright line of text that begins at its place on the baseline, and so is drawn without being measured."""

    def draw(self, renderer: RendererBase) -> None:
        """Draws it as it stands."""
        if not self.get_visible() or not self.get_text():
            return
        renderer.open_group("text", self.get_gid())
        x, y = self.get_transform().transform(self.get_unitless_position())
        if renderer.flipy():
            y = renderer.get_canvas_width_height()[1] - y
        context = renderer.new_gc()
        context.set_foreground(to_rgba(self.get_color(), self.get_alpha()), isRGBA=True)
        context.set_antialiased(self.get_antialiased())
        renderer.draw_text(context, x, y, self.get_text(), self.get_fontproperties(), 0, ismath=False, mtext=self)
        context.restore()
        renderer.close_group("text")
        self.stale = False


def write(page: Figure, x: float, y: float, text: str, *, size: float, align: str = "left", **text_style: Any) -> None:
    """One line of text, its baseline at (x, y) in fractions of the page."""
    if align == "left":
        page.add_artist(LineOfText(x, y, text, fontsize=size, ha=align, va="baseline", parse_math=False, **text_style))
    else:
        page.text(x, y, literal(text), fontsize=size, ha=align, va="baseline", **text_style)


def paragraph(
    page: Figure,
    text: str,
    *,
    top: float,
    size: float,
    left: float = LEFT,
    right: float = RIGHT,
    leading: float = _LINE,
    **text_style: Any,
) -> float:
    """Text broken into lines between `left` and `right`.

    Returns:
        The top for whatever comes below, as a fraction of the page's height.
    """
    step = size * leading / style.POINTS[1]
    for line in wrapped(text, (right - left) * style.POINTS[0], size, text_style.get("weight", "normal")):
        top -= step
        write(page, left, top + 0.25 * step, line, size=size, **text_style)
    return top


def numbered(
    page: Figure, sentences: Sequence[str], *, top: float, size: float, gap: float, lowest: float = 0
) -> float:
    """Sentences below each other, each behind its number; those that would begin below `lowest` are left out.

    Returns:
        The top for whatever comes below, as a fraction of the page's height.
    """
    for index, sentence in enumerate(sentences, start=1):
        if top < lowest:
            break
        write(page, LEFT, top - 0.0175, f"{index}", size=style.HEADING, weight="bold", color=style.BLUE)
        top = paragraph(page, sentence, top=top, size=size, left=LEFT + 0.02) - gap
    return top


def table(
    page: Figure,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    top: float,
    shares: Sequence[float],
    left: float = LEFT,
    right: float = RIGHT,
    size: float = style.BODY,
    bold: int | None = None,
    spacing: float = 1.5,
) -> float:
    """A table between `left` and `right`; a cell may have lines, and those wider than their column are cut with dots.

    Args:
        page: the page to write on.
        header: column titles.
        rows: cells.
        top: upper end, as a fraction of the page's height.
        shares: widths of the columns, relative to each other.
        left: left end, as a fraction of the page's width.
        right: right end.
        size: font size in points.
        bold: number of the column set in bold.
        spacing: line height over font size.

    Returns:
        The top for whatever comes below, as a fraction of the page's height.
    """
    step = size * spacing / style.POINTS[1]
    starts = [left + (right - left) * sum(shares[:index]) / sum(shares) for index in range(len(shares) + 1)]
    for number, cells in enumerate([header, *rows]):
        for column, cell in enumerate(cells):
            weight = "bold" if number == 0 or column == bold else "normal"
            room = column_room(shares, column, left=left, right=right, size=size)
            for line, text in enumerate(cell.split("\n")):
                y = top - step * (0.7 + line)
                write(page, starts[column], y, fitted(text, room, size, weight), size=size, weight=weight)
        top -= step * max(cell.count("\n") + 1 for cell in cells)
        if number in (0, len(rows)):
            _rule(page, left, right, top)
    return top


def column_room(
    shares: Sequence[float], column: int, *, left: float = LEFT, right: float = RIGHT, size: float = style.BODY
) -> float:
    """The points that a column of a `table` has for text."""
    return (right - left) * shares[column] / sum(shares) * style.POINTS[0] - 0.6 * size


def _rule(page: Figure, left: float, right: float, y: float) -> None:
    page.add_artist(Line2D([left, right], [y, y], color=style.GREY, linewidth=0.8, transform=page.transFigure))
