"""Looking at a page as a reader does: which texts are really drawn, and where."""

import re
import warnings
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from sinkscope.report import style
from sinkscope.report.page import LineOfText, Page
from sinkscope.report.render import entries, figures
from sinkscope.tables.run_folder import Run

DASHED = re.compile(r"(?<![\w./-])\d[\d.,]* ?[-\u2013] ?\d")  # a range; the pages write "to"
QUOTING = ("provenance", "seeds", "public")  # pages that print names, dates and versions as they are
TOUCHING = 1.0  # pixels that two boxes may share: letters have side bearings


def drawn_quietly(run: Run) -> dict[str, Figure]:
    """Every page of a run's report; a warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return figures(run)


def assert_legible(run: Run, pages: Mapping[str, Figure] | None = None) -> None:
    """Nothing of a run's report warns, is clipped or overlaps; `pages` are the run's, if drawn already."""
    pages = pages or drawn_quietly(run)
    with warnings.catch_warnings(), style.drawing():
        warnings.simplefilter("error")
        for name, page in pages.items():
            texts = drawn_texts(page)
            assert texts, name
            assert clipped(page, texts) == [], name
            assert overlapping(texts) == [], name
            assert over_panels(page) == [], name
            if not name.startswith(QUOTING):
                assert [text for text, _ in texts if DASHED.search(text)] == [], name
    assert list(pages) == [entry.name for entry in entries(run)]


def words(page: Page) -> str:
    """All texts of a page and of its panels, without line breaks."""
    texts = [text.get_text() for text in page.written]
    texts += [text.get_text() for axes in page.axes for text in axes.texts]
    return " ".join(" ".join(texts).split())


def drawn_texts(page: Page) -> list[tuple[str, Bbox]]:
    """Every text that drawing the page puts on paper, with its box in pixels."""
    seen: dict[int, Text] = {}

    def recorded(draw: Callable[..., None]) -> Callable[..., None]:
        def record(self: Text, *args: Any, **kwargs: Any) -> None:
            if self.get_visible() and self.get_text().strip():
                seen[id(self)] = self
            draw(self, *args, **kwargs)

        return record

    canvas = FigureCanvasAgg(page)
    with pytest.MonkeyPatch.context() as patch:
        for kind in (Text, LineOfText):
            patch.setattr(kind, "draw", recorded(kind.draw))
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
    return [
        text.get_text() for text in page.written if any(_share(text.get_window_extent(), panel) for panel in panels)
    ]


def _share(one: Bbox, other: Bbox) -> bool:
    wide = min(one.x1, other.x1) - max(one.x0, other.x0)
    high = min(one.y1, other.y1) - max(one.y0, other.y0)
    return wide > TOUCHING and high > TOUCHING
