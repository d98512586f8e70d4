"""Damage by intervention, against controls of the same size; and how far the next-token distributions move."""

import numpy as np
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.ablation.sentences import label, size, together
from sinkscope.report.ablation.shared import CONTROL, OWN, change_scale, errors, named_rows
from sinkscope.report.axes import positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_MOST = 24  # interventions that a page has room for
_APART = 0.17


def draw(run: Run) -> Page:
    """A row per intervention: changes of the loss to the left, divergences to the right."""
    page = Page()
    left, right = page.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    rows = together(run)[:_MOST]
    places = np.arange(len(rows))
    errors(left, rows["change"], rows["change_low"], rows["change_high"], places - _APART, OWN, "o")
    errors(left, rows["control_change"], rows["control_change_low"], rows["control_change_high"], places + _APART,
           CONTROL, "s")  # fmt: skip
    change_scale(left, [*rows["change"], *rows["control_change"]])
    left.set_title("Change of the loss, with 95 % interval")
    for column, mark, colour, shift in (("kl", "o", OWN, -_APART), ("control_kl", "s", CONTROL, _APART)):
        right.plot(positive(rows[column]), places + shift, mark, color=colour, markersize=5)
    right.set_xscale("log")
    right.set_xlabel("KL divergence (nats per token)")
    right.set_title("Distance of the predictions")
    named_rows(left, [f"{label(row.what, row.where)} ({size(row.size)})" for row in rows.itertuples()])  # type: ignore[arg-type]
    page.key(
        [
            Line2D([], [], color=OWN, marker="o", linestyle="", label="intervention"),
            Line2D([], [], color=CONTROL, marker="s", linestyle="", label="as much taken away at random"),
        ]
    )
    left.set_ylabel("intervention (its size)", fontsize=style.SMALL)
    return page


ENTRY = Entry(
    "damage",
    "Damage against controls of the same size",
    draw,
    "Left: loss minus that of the untouched model on the same tokens; intervals are over sequences, paired, and of "
    "controls over their draws too. Right: mean Kullback-Leibler divergence of the next-token distribution from the "
    "untouched model's. In brackets how much is taken away: massive entries per sequence, channels, weights, "
    "positions, heads or tokens; for a cache, the first tokens that are kept, and its controls keep others instead. "
    "Where a mark is missing there is no control, or its value is 0.",
    applies=lambda run: len(together(run)) > 0,
)
