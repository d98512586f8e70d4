"""How every figure looks: one palette, one page, one set of sizes.

Colours are Okabe and Ito's, which readers with any common colour vision tell apart; ordered quantities use viridis or
cividis, whose lightness rises monotonically and so survives a grey printer. A page is A4 landscape and its smallest
letters are 9 points, so that two pages fit side by side on a sheet and can still be read.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import style

from sinkscope.compat.drawn_texts import texts_kept

PAGE_INCHES = (11.69, 8.27)
POINTS = (PAGE_INCHES[0] * 72, PAGE_INCHES[1] * 72)
DPI = 150

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
GREY = "#6B6B6B"
PALE = "#E4E4E4"

TOKEN_ZERO = VERMILION
EARLY_MEAN = BLUE
EARLY_MAX = SKY
PATHWAY = {"q": ORANGE, "k": GREEN, "v": BLUE}

SEQUENTIAL = "viridis"
SECOND_SEQUENTIAL = "cividis"
DIVERGING = "PuOr_r"
ABSENT = "#F0F0F0"

TITLE, SUBTITLE, HEADING, BODY, SMALL = 16, 10, 11.5, 10, 9

_SHEET: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": BODY,
    "axes.titlesize": HEADING,
    "axes.labelsize": BODY,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "axes.titley": 1.0,  # no axis has its ticks above, and looking for them takes long
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": PALE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 4,
    "image.interpolation": "nearest",
    "pdf.fonttype": 42,
    "svg.hashsalt": "sinkscope",
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
}


@contextmanager
def drawing() -> Iterator[None]:
    """The style, for the length of a `with` block; the caller's own matplotlib settings come back after it."""
    with style.context(["default", _SHEET]), texts_kept():
        yield
