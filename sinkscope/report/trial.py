"""What drawing a report takes on this machine, from one page that is drawn for it.

The page has the furniture and about the marks of a page of an analysis; a report is as many of these as it has pages.
"""

import io
import time

import numpy as np

from sinkscope.report import style
from sinkscope.report.kinds import KINDS
from sinkscope.report.page import Page

_PANELS, _LINES, _POINTS = 4, 6, 400
_PAGES_PER_PAGE = 1.2  # what a registered page takes over this one, PNG and PDF together; not every run has each


def seconds_to_draw(kind: str) -> float:
    """Seconds that the report of a kind of run takes, in the formats of a run folder."""
    return len(KINDS[kind].figures) * _PAGES_PER_PAGE * _seconds_of_a_page()


def _seconds_of_a_page() -> float:
    _draw()  # the first one loads fonts
    started = time.perf_counter()
    _draw()
    return time.perf_counter() - started


def _draw() -> None:
    with style.drawing():
        page = Page()
        x = np.arange(_POINTS)
        for panel, axes in enumerate(page.subplots(2, _PANELS // 2).flat):
            for line in range(_LINES):
                axes.plot(x, np.sin(x / (10 + line + panel)))
        page.draw_without_rendering()
        page.savefig(io.BytesIO(), format="png")
