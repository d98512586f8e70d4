"""What a block does to gradients on their way back, against the norm of its input: bloat, change, compress."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.axes import decades, positive, write_sentence
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
        Line2D([], [], linestyle="", marker=shape, color=colour, label=positions_label(a, min(b, last)))
        for a, b, colour, shape in reversed(GROUPS)
        if a <= last
    ]
    handles.append(Line2D([], [], color=style.BLACK, linestyle="--", linewidth=1.2, label="slope -1"))
    page.key(handles, "token position")
    return page


def positions_label(first: int, last: int) -> str:
    """A group of positions, for a key."""
    return str(first) if first == last else f"{first} to {last}"


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
    if ratio == "compress":
        falling_line(axes, points)
    axes.set_xlabel(f"{source} (model units)")
    axes.set_ylabel(ratio)
    decades(axes)


def falling_line(axes: Axes, points: pd.DataFrame) -> None:
    """A line of slope -1 through the middle of the dots: where they follow it, the norm scales with 1 / |input|."""
    drawn = points[points["position"] <= max(last for _, last, *_ in GROUPS)]
    known = drawn[(drawn["input_norm"] > 0) & (drawn["compress"] > 0)]
    if known.empty:
        return
    x, y = np.log10(known["input_norm"]), np.log10(known["compress"])
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, (x + y).median() - ends, color=style.BLACK, linestyle="--", linewidth=1.2, scalex=False,
              scaley=False, label="slope -1")  # fmt: skip


ENTRY = Entry(
    "reshaping",
    "Bloat, change, compress by the input's norm",
    draw,
    "One dot per layer and token, from gradients summed over sequences, equation (8). Bloat: gradient at the norm's "
    "output over gradient at the branch's output. Change: gradient entering over leaving the branch along the "
    "residual stream (where both read h_in: the block). Compress: gradient that comes back through the norm over "
    "gradient at its output; of slope -1, as the dashed line through the middle of the dots, where the norm scales it "
    "with 1 / |input|. Solid: 1.",
    needs_backward=True,
    applies=lambda run: not run["branches"].empty,
)
