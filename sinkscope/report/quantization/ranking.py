"""Which modules hurt most: one alone quantized, and all but one."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.quantization.sentences import apart, models
from sinkscope.report.quantization.shared import SIDE_BY_SIDE
from sinkscope.report.text import literal, printable
from sinkscope.tables.run_folder import Run

_SHOWN = 14


def draw(run: Run) -> Page:
    """Bars for the loss that a module adds alone, marks for what sparing it wins back; a panel per model."""
    page = Page()
    names = [model for model in models(run) if (run["ranking"]["model"] == model).any()][:SIDE_BY_SIDE]
    panels = page.subplots(1, len(names), squeeze=False, sharex=True)[0]
    for axes, model in zip(panels, names, strict=True):
        rows = run["ranking"][run["ranking"]["model"] == model].head(_SHOWN)
        places = np.arange(len(rows))
        axes.barh(places, rows["delta_alone"], color=style.BLUE, height=0.7)
        axes.plot(
            rows["recovered"].where(np.isfinite(rows["recovered"])),
            places,
            "D",
            color=style.VERMILION,
            markersize=5,
            linestyle="",
        )
        labels = [
            literal(f"{printable(str(row.site).rsplit('.', 1)[-1], 14)} {row.layer}") for row in rows.itertuples()
        ]
        axes.set_yticks(places, labels)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.grid(visible=False, axis="y")
        axes.axvline(0, color=style.GREY, linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.ticklabel_format(axis="x", style="plain", useOffset=False)
        axes.set_xlabel("change of the loss (nats per token)")
        axes.set_title(literal(", ".join(filter(None, (apart(run, model), rows["method"].iloc[0])))))
    panels[0].set_ylabel("linear module and layer")
    _reach_zero(panels[0])
    page.key(
        [
            Patch(color=style.BLUE, label="quantized alone"),
            Line2D([], [], color=style.VERMILION, marker="D", linestyle="", label="won back by sparing it"),
        ]
    )
    return page


def _reach_zero(axes: Axes) -> None:
    """Leaves the line at zero inside the axis that the panels share."""
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0), max(high, 0))


ENTRY = Entry(
    "ranking",
    "The modules that hurt most",
    draw,
    "Bars: loss with this module alone quantized, minus the unquantized loss. Diamonds: loss with all modules "
    "quantized, minus that with all but this one. Measured on the first sequences of the run only (`rank_sequences` "
    "in run.json), without an interval: small differences in rank mean nothing. Where there are more modules than "
    "`rank_limit`, those with the noisiest outputs were tried. Three models and fourteen modules are drawn; the table "
    "`ranking` has all.",
    applies=lambda run: "ranking" in run.tables and len(run["ranking"]) > 0,
)
