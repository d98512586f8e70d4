"""What a block does to gradients on their way back, against the norm of its input: bloat, change, compress."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.axes import positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.applicability import reason
from sinkscope.tables.run_folder import Run

GROUPS = (  # first and last position, colour, marker; the rarest is drawn last, on top
    (8, 15, style.GREY, "o"),
    (4, 7, style.SKY, "v"),
    (2, 3, style.BLUE, "s"),
    (1, 1, style.ORANGE, "D"),
    (0, 0, style.VERMILION, "o"),
)
_BRANCHES = {"attn": "Attention branch", "mlp": "MLP branch"}


def draw(run: Run) -> Page:
    """Six scatters: three ratios for two branches, one dot per layer and early position."""
    page = Page()
    grid = page.subplots(2, 3)
    for row, branch in enumerate(_BRANCHES):
        points = run["branches"][run["branches"]["branch"] == branch]
        for column, ratio in enumerate(("bloat", "change", "compress")):
            _scatter(grid[row, column], points, branch, ratio, f"|{stream_before(run, branch)}|")
    last = int(run["branches"]["position"].max())
    handles = [
        Line2D([], [], linestyle="", marker=shape, color=colour, label=f"{a}" if a == b else f"{a}-{min(b, last)}")
        for a, b, colour, shape in reversed(GROUPS)
        if a <= last
    ]
    page.key(handles, "token position")
    return page


def stream_before(run: Run, branch: str) -> str:
    """The site at which a branch reads the residual stream; in a parallel block both do at h_in."""
    return "h_in" if branch == "attn" or reason(run, "h_half") is not None else "h_half"


def _scatter(axes: Axes, points: pd.DataFrame, branch: str, ratio: str, source: str) -> None:
    axes.set_title(f"{_BRANCHES[branch]}: {ratio}")
    if not (points[ratio] > 0).any():
        write_sentence(axes, "not defined: no gradient arrives here", 180)
        return
    for first, last, colour, shape in GROUPS:
        group = points[points["position"].between(first, last)]
        x, y = np.log10(positive(group["input_norm"])), np.log10(positive(group[ratio]))
        axes.plot(x, y, linestyle="", marker=shape, color=colour, alpha=0.75, markersize=3.5, markeredgewidth=0)
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set_xlabel(f"log10 {source} (model units)")
    axes.set_ylabel(f"log10 {ratio.capitalize()}")
    axes.locator_params(nbins=6)


ENTRY = Entry(
    "reshaping",
    "Bloat, change and compress against the input's norm",
    draw,
    "One dot per layer and token, from gradients summed over sequences, equation (8). Bloat: gradient at the norm's "
    "output over gradient at the branch's output. Change: gradient entering over leaving the branch along the "
    "residual stream; where both branches read h_in, that of the whole block. Compress: gradient that comes back "
    "through the norm over gradient at its output; it falls with slope -1 where the norm scales gradients with one "
    "over the size of its input. The line marks a ratio of 1.",
    needs_backward=True,
    applies=lambda run: not run["branches"].empty,
)
