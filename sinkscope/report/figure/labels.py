"""Titles and labels broken to the panels' sizes, and ticks thinned out until no two labels touch."""

from itertools import pairwise
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator
from matplotlib.transforms import Bbox

from sinkscope.report.figure.grid import Cells
from sinkscope.report.figure.names import are_names, broken, plain
from sinkscope.report.figure.sizes import HEADING, SMALL
from sinkscope.report.page import Page
from sinkscope.report.text import fitted, literal

_UPRIGHT = 90.0  # points that a name may be long that stands upright
_APART = 2.0  # points between the labels of two ticks
_SIDES: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")


class Labels:
    """Everything that is written on and around the panels, as it was before it was broken."""

    def __init__(self, page: Page, cells: Cells) -> None:
        self._page, self._cells = page, cells
        self._titles = {(axes, side): axes.get_title(side) for axes in page.axes for side in _SIDES}
        self._axis_labels = {axis: axis.label.get_text() for axes in page.axes for axis in (axes.xaxis, axes.yaxis)}
        self._sentences = {text: text.get_text() for axes in page.axes if not axes.axison for text in axes.texts}

    def fit(self, *, thin: bool) -> bool:
        """Breaks every text to the size that its panel has now.

        Args:
            thin: thin out ticks and leave out numbers inside panels where they would touch.

        Returns:
            Whether anything changed.
        """
        before = self._written()
        renderer: Any = self._page.canvas.get_renderer()  # type: ignore[attr-defined]
        points = 72 / self._page.dpi
        for (axes, side), title in self._titles.items():
            if title:
                wide = 0.97 * axes.get_window_extent(renderer).width * points
                axes.set_title(broken(title, wide, HEADING), loc=side, fontsize=HEADING, pad=4)
        for axis, label in self._axis_labels.items():
            box = axis.axes.get_window_extent(renderer)
            room = (box.width if axis is axis.axes.xaxis else box.height) * points
            axis.label.set_text(broken(label, max(room, 40.0), float(axis.label.get_fontsize())))
        for text, sentence in self._sentences.items():
            room = text.axes.get_window_extent(renderer).width * points if text.axes is not None else 0.0
            text.set_text(broken(" ".join(sentence.split()), room, float(text.get_fontsize())))
        if thin:
            for axes in (axes for axes in self._page.axes if axes.axison):
                _thin(axes, axes.xaxis, renderer)
                _thin(axes, axes.yaxis, renderer)
                _numbers_inside(axes, renderer)
        return before != self._written()

    def _written(self) -> list[str]:
        texts = [axes.get_title(side) for axes, side in self._titles]
        texts += [axis.label.get_text() for axis in self._axis_labels] + [text.get_text() for text in self._sentences]
        ticks = [[label.get_text() for label in axis.get_ticklabels()] for axis in self._axis_labels]
        return texts + ["\n".join(labels) for labels in ticks]


def _thin(axes: Axes, axis: Axis, renderer: Any) -> None:
    """Keeps every tick, or every second, third, ... whose labels do not touch.

    Names are turned upright first, and cut where they are long; numbers are turned where two alone touch still.
    """
    across = axis is axes.xaxis
    labels = _visible(axes, axis)
    if across and are_names(axis) and _touch(labels, renderer):
        _turn(axes)
        labels = _visible(axes, axis)
    for step in range(2, len(labels)):
        if not _touch(labels, renderer):
            return
        kept = [place for place, _ in _ticks(axes, axis)][::step]
        axis.set_major_locator(FixedLocator(kept))
        labels = _visible(axes, axis)
    if across and _touch(labels, renderer):
        axis.set_tick_params(labelrotation=90)


def _turn(axes: Axes) -> None:
    """Turns the names below a panel upright, each line of them cut to what is left for the panel above."""
    names = ["\n".join(fitted(line, _UPRIGHT, SMALL) for line in plain(label.get_text()).split("\n"))
             for label in axes.get_xticklabels()]  # fmt: skip
    axes.set_xticks(axes.get_xticks(), [literal(name) for name in names])
    axes.xaxis.set_tick_params(labelrotation=90)


def _ticks(axes: Axes, axis: Axis) -> list[tuple[float, Text]]:
    """The ticks that are seen, with their labels."""
    low, high = sorted(axes.get_xlim() if axis is axes.xaxis else axes.get_ylim())
    slack = 1e-9 * (high - low)
    places = axis.get_majorticklocs()
    return [(float(place), label) for place, label in zip(places, axis.get_ticklabels(), strict=False)
            if low - slack <= place <= high + slack]  # fmt: skip


def _visible(axes: Axes, axis: Axis) -> list[Text]:
    return [label for _, label in _ticks(axes, axis) if label.get_visible() and label.get_text()]


def _touch(labels: list[Text], renderer: Any) -> bool:
    boxes = [label.get_window_extent(renderer) for label in labels]
    return any(_near(one, other) for one, other in pairwise(boxes))


def _near(one: Bbox, other: Bbox, apart: float = _APART) -> bool:
    pad = apart * 150 / 72
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return bool((wide > -pad and high > 0) or (wide > 0 and high > -pad / 4))


def _numbers_inside(axes: Axes, renderer: Any) -> None:
    """Leaves out what is written inside a panel where two of these would touch."""
    boxes = [text.get_window_extent(renderer) for text in axes.texts if text.get_visible()]
    if any(one.overlaps(other) for n, one in enumerate(boxes) for other in boxes[n + 1 :]):
        for text in axes.texts:
            text.set_visible(False)
