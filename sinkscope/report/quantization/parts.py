"""Weights or activations: which of the two rounds the model away."""

import numpy as np

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.quantization.sentences import models
from sinkscope.report.quantization.shared import (
    MARKERS,
    SIDE_BY_SIDE,
    change_axis,
    coloured,
    handles,
    intervals,
    method_axis,
    offsets,
)
from sinkscope.tables.run_folder import Run

_PARTS = ("weights", "activations", "both")
_PANELS = SIDE_BY_SIDE


def draw(run: Run) -> Page:
    """A panel per probe: the change of the loss with weights, activations, or both rounded."""
    page = Page()
    table, colours = run["parts"], coloured(run)
    names = list(dict.fromkeys(table["method"]))[:_PANELS]
    panels = page.subplots(1, len(names), sharey=True, squeeze=False)[0]
    ticks = np.arange(len(_PARTS))
    for axes, name in zip(panels, names, strict=True):
        of_method = table[table["method"] == name]
        for (model, colour), mark, offset in zip(colours.items(), MARKERS, offsets(len(colours), 0.5), strict=False):
            rows = of_method[of_method["model"] == model].set_index("part").loc[list(_PARTS)]
            intervals(axes, ticks + offset, rows, colour, mark)
        axes.set_title(name)
        axes.set_xlabel("what is rounded")
        method_axis(axes, list(_PARTS))
    change_axis(panels[0], table[table["method"].isin(names)]["delta"])  # shared, so only when all is drawn
    for axes in panels[1:]:
        axes.axhline(0, color=style.GREY, linewidth=0.8)
    if len(models(run)) > 1:
        page.key(handles(run))
    return page


ENTRY = Entry(
    "parts",
    "Weights, activations, or both",
    draw,
    "Change of the loss against the unquantized model when a probe rounds the weights only, the activations only, or "
    "both; 95 % intervals, paired bootstrap over sequences. The two alone need not add up to both. The first three "
    "probes of weights and activations are drawn; the table `parts` has all.",
    applies=lambda run: "parts" in run.tables and len(run["parts"]) > 0,
)
