"""Super weights: where they are, the spikes between which they stand, and what is published of the model."""

import numpy as np
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.ablation.sentences import weight_names
from sinkscope.report.ablation.shared import named_rows
from sinkscope.report.axes import positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_MOST = 24


def draw(run: Run) -> Page:
    """A row per weight: both spikes to the left, its share of the written one to the right."""
    page = Page()
    left, right = page.subplots(1, 2, sharey=True)
    table = run["super_weights"][:_MOST]
    places = np.arange(len(table))
    for column, mark, colour in (("entering", "o", style.BLUE), ("leaving", "s", style.VERMILION)):
        left.plot(positive(table[column].abs()), places, mark, color=colour, markersize=6)
    left.set_xscale("log")
    left.set_xlabel("|x|")
    left.set_title("Spikes of the down projection")
    right.barh(places, 100 * table["share"].fillna(0.0), color=style.GREEN, height=0.5)
    right.axvline(100, color=style.GREY, linestyle=":", linewidth=1.2)
    right.set_xlabel("share of the written spike (%)")
    right.set_title("What this weight makes of it alone")
    named_rows(left, weight_names(run)[:_MOST])
    left.set_ylabel("layer, row, column: weight", fontsize=style.SMALL)
    page.key(
        [
            Line2D([], [], color=style.BLUE, marker="o", linestyle="", label="read"),
            Line2D([], [], color=style.VERMILION, marker="s", linestyle="", label="written"),
        ]
    )
    return page


ENTRY = Entry(
    "super_weights",
    "Super weights",
    draw,
    "arXiv:2411.07191: the weight of a down projection between a spike that it reads and one that it writes at the "
    "same token, the written one massive by equation (5); row: output channel, column: input channel. Share: weight "
    "times spike read, over the spike written: near 100 %, this one weight makes the spike; well below, many do "
    "together. Published coordinates are of that paper; one that was not found has no marks.",
    applies=lambda run: len(run["super_weights"]) > 0,
)
