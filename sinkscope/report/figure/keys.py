"""Legends below what they explain: that of all panels below them, that of one panel below its axis."""

from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.legend import Legend
from matplotlib.transforms import ScaledTranslation

from sinkscope.report.figure.names import plain
from sinkscope.report.figure.sizes import SCALE, SMALL
from sinkscope.report.page import Page
from sinkscope.report.text import fitted, literal

_GAP = 3.0  # points
_LOOKS: dict[str, Any] = {"fontsize": SMALL, "title_fontsize": SMALL, "columnspacing": 1.0, "handletextpad": 0.5,
                          "borderpad": 0.1, "labelspacing": 0.3, "borderaxespad": 0.2}  # fmt: skip


class Keys:
    """The legends of a page, taken off it and put back where a narrow figure has room.

    A legend that stands beside a panel and is the page's only one explains all panels.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._whole = [(list(handles), title) for handles, title in page.keys]
        for legend in list(page.legends):
            legend.remove()
        own = [(axes, own_legend) for axes in page.axes if (own_legend := axes.get_legend()) is not None]
        self._own: list[tuple[Axes, list[Artist]]] = []
        for axes, beside in own:
            handles = _handles(beside)
            if len(own) == 1 and beside.get_bbox_to_anchor().bounds != axes.bbox.bounds:
                self._whole.append((handles, ""))
            else:
                self._own.append((axes, handles))
            beside.remove()
        for handles, _ in self._whole:
            for handle in handles:
                _small(handle)

    def place(self, width: float) -> None:
        """The legends of all panels, in as many columns as the width takes."""
        for legend in list(self._page.legends):
            legend.remove()
        for handles, title in self._whole:
            _widest(self._page, handles, 72 * width, loc="outside lower center", title=title or None)

    def below(self) -> None:
        """Each panel's own legend, below its axis; to be called after a layout."""
        for axes, handles in self._own:
            if (old := axes.get_legend()) is not None:
                old.remove()
            renderer: Any = self._page.canvas.get_renderer()  # type: ignore[attr-defined]
            box, bottom = axes.xaxis.get_tightbbox(renderer), axes.get_window_extent(renderer).y0
            under = 0.0 if box is None else (bottom - box.y0) * 72 / self._page.dpi
            shift = ScaledTranslation(0, -(under + _GAP) / 72, self._page.dpi_scale_trans)
            room = axes.get_window_extent(renderer).width * 72 / self._page.dpi
            _widest(axes, handles, 1.15 * room, loc="upper center", bbox_to_anchor=(0.5, 0),
                    bbox_transform=axes.transAxes + shift)  # fmt: skip


def _handles(legend: Legend) -> list[Artist]:
    """What a legend shows, named as it names it."""
    handles = [handle for handle in legend.legend_handles if handle is not None]
    for handle, text in zip(handles, legend.get_texts(), strict=True):
        handle.set_label(text.get_text())
    return handles


def _small(handle: Any) -> None:
    for name in ("linewidth", "markersize"):
        if hasattr(handle, f"set_{name}"):
            getattr(handle, f"set_{name}")(SCALE * getattr(handle, f"get_{name}")())


def _widest(parent: Any, handles: list[Artist], points: float, **place: Any) -> Legend:
    """A legend with the most columns that fit; names are cut where a single one is too wide."""
    for columns in range(len(handles), 0, -1):
        legend: Legend = parent.legend(handles=_by_column(handles, columns), ncols=columns, **place, **_LOOKS)
        figure = legend.get_figure(root=True)
        assert figure is not None  # noqa: S101  (it was just put on one)
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        if legend.get_window_extent(renderer).width * 72 / figure.dpi <= points or columns == 1:
            break
        legend.remove()
    for text in legend.get_texts():
        text.set_text(literal(fitted(plain(text.get_text()), points - 30, SMALL)))
    return legend


def _by_column(handles: list[Artist], columns: int) -> list[Artist]:
    """A legend fills its columns from top to bottom; this order makes its lines read from left to right."""
    return [handle for column in range(columns) for handle in handles[column::columns]]
