"""Gradient norms at queries, keys and values by token position, at a few checkpoints."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sinkscope.report import style
from sinkscope.report.axes import log_axis, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import number
from sinkscope.report.tracking.sentences import steps_of
from sinkscope.report.tracking.steps import chosen
from sinkscope.tables.run_folder import Run

_MOST = 6


def draw(run: Run) -> Page:
    """A panel per chosen checkpoint, all on the same axes."""
    page = Page()
    rows = run["track_pathways"]
    if not (rows["grad_norm"] > 0).any():
        write_sentence(page.subplots(), "No gradient was measured at q, k or v.")
        return page
    steps = chosen(steps_of(run), _MOST)
    columns = min(3, len(steps))
    grid = page.subplots(-(-len(steps) // columns), columns, sharex=True, sharey=True, squeeze=False)
    for axes, step in zip(grid.flat, steps, strict=False):
        _profiles(axes, rows[rows["step"] == step], step)
    for axes in list(grid.flat)[len(steps) :]:
        axes.set_axis_off()
    log_axis(grid.flat[0])
    for axes in grid[:, 0]:
        axes.set_ylabel("gradient norm, mean over\nlayers (nats per unit)")
    for column in range(columns):
        last = max(row for row in range(len(grid)) if row * columns + column < len(steps))
        grid[last, column].set_xlabel("token position")
        grid[last, column].tick_params(labelbottom=True)
    page.key([Line2D([], [], color=colour, label=site) for site, colour in style.PATHWAY.items()], "gradient at")
    return page


def _profiles(axes: Axes, rows: pd.DataFrame, step: int) -> None:
    for site, colour in style.PATHWAY.items():
        profile = rows[rows["site"] == site].set_index("position")["grad_norm"]
        if site == "q":
            profile = profile.drop(0)  # zero but for rounding, which a logarithmic axis would blow up
        axes.plot(profile.index, positive(profile), color=colour, linewidth=1.4)
    axes.set_title(f"step {number(step)}")
    axes.set_xlim(-0.02 * max(int(np.max(rows["position"])), 1), None)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


ENTRY = Entry(
    "pathways",
    "Gradients at queries, keys and values along training",
    draw,
    "Token-wise norms of the gradients at q, k (after the rotary embedding, which keeps norms) and v, heads "
    "concatenated, summed over sequences before the norm, mean over layers, equation (7); at most six "
    "checkpoints, evenly chosen, on the same axes. No gradient reaches the query of "
    "token 0, which has one key only; it is left out.",
    needs_backward=True,
)
