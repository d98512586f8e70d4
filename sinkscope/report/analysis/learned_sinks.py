"""Learned sinks: the attention that heads park outside of all tokens, beside what they park on token 0."""

import numpy as np
from matplotlib.colors import Normalize

from sinkscope.report import style
from sinkscope.report.axes import heatmap
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run


def draw(run: Run) -> Page:
    """Heatmaps layers x heads: the learned sink's mass, and alpha at token 0 over the same queries."""
    page = Page()
    upper, lower = page.subplots(2, 1)
    table = run["learned_sinks"]
    for axes, column, title, colours in (
        (upper, "early_mass", "Weight of the learned sink, which belongs to no token", style.SEQUENTIAL),
        (lower, "alpha", "alpha at token 0, over the same queries", style.SECOND_SEQUENTIAL),
    ):
        grid = np.full((run.info["model"]["heads"], run.info["model"]["layers"]), np.nan)
        grid[table["head"], table["layer"]] = table[column]
        heatmap(axes, grid, "attention share", norm=Normalize(0, 1), colours=colours, rows="query head")
        axes.set_title(title)
    return page


ENTRY = Entry(
    "learned_sinks",
    "Learned sinks beside token 0",
    draw,
    "A learned logit of each head takes part in the softmax of every row, so the weights of a row sum to less than 1: "
    "the rest is the learned sink's. Both panels average over the queries of equation (1), 0 to T_eps - 1, and over "
    "sequences. With such a sink the gradient at the query of token 0 need not vanish.",
    applies=lambda run: "learned_sinks" in run.tables,
)
