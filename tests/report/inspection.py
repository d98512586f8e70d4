"""Looking at a page as a reader does: which texts are really drawn, and where."""

from itertools import combinations
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.transforms import Bbox

from sinkscope.report.page import Page

TOUCHING = 1.0  # pixels that two boxes may share: letters have side bearings


def drawn_texts(page: Page) -> list[tuple[str, Bbox]]:
    """Every text that drawing the page puts on paper, with its box in pixels."""
    seen: dict[int, Any] = {}
    draw_text = RendererAgg.draw_text

    def record(self: RendererAgg, *args: Any, **kwargs: Any) -> None:
        text = kwargs.get("mtext")
        if text is not None:
            seen[id(text)] = text
        draw_text(self, *args, **kwargs)

    canvas = FigureCanvasAgg(page)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RendererAgg, "draw_text", record)
        canvas.draw()
    renderer = canvas.get_renderer()
    return [(text.get_text(), text.get_window_extent(renderer)) for text in seen.values()]


def clipped(page: Page, texts: list[tuple[str, Bbox]]) -> list[str]:
    """Texts that reach over the edge of the page."""
    return [text for text, box in texts if box.x0 < 0 or box.y0 < 0 or box.x1 > page.bbox.x1 or box.y1 > page.bbox.y1]


def overlapping(texts: list[tuple[str, Bbox]]) -> list[tuple[str, str]]:
    """Pairs of texts that run into each other."""
    return [(a, b) for (a, one), (b, other) in combinations(texts, 2) if _share(one, other)]


def over_panels(page: Page) -> list[str]:
    """Texts of the page itself (title, caption, tables) that lie over a panel."""
    panels = [axes.get_window_extent() for axes in page.axes if axes.axison]
    return [text.get_text() for text in page.texts if any(_share(text.get_window_extent(), panel) for panel in panels)]


def _share(one: Bbox, other: Bbox) -> bool:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide > TOUCHING and high > TOUCHING
