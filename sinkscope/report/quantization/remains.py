"""What is left of the outliers under each mitigation that changes what modules read."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sinkscope.names import NONE
from sinkscope.report import style
from sinkscope.report.axes import log_axis, positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.quantization.sentences import apart, models
from sinkscope.report.quantization.shared import MARKERS, offsets
from sinkscope.report.text import literal, printable
from sinkscope.tables.run_folder import Run

_COLOURS = (style.BLACK, style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE)
_METRICS = (("abs_max", "largest |x|"), ("kurtosis", "kurtosis (normal: 3)"))
_ROWS = 2  # models


def draw(run: Run) -> Page:
    """A row per model: the largest |x| and the kurtosis by site, the largest over layers, a mark per mitigation."""
    page = Page()
    table = run["mitigation_sites"]
    shown = [model for model in models(run) if (table["model"] == model).any()][:_ROWS]
    names = list(dict.fromkeys(table["mitigation"]))[: len(_COLOURS)]
    panels = page.subplots(len(shown), len(_METRICS), squeeze=False)
    for row, model in zip(panels, shown, strict=True):
        rows = table[table["model"] == model]
        for axes, (column, title) in zip(row, _METRICS, strict=True):
            _panel(axes, rows.groupby(["mitigation", "site"], sort=False)[column].max().unstack("mitigation"), names)
            axes.set_ylabel(f"{title},\nlargest over layers")
            axes.set_title(literal(", ".join(filter(None, (title, apart(run, model))))))
    page.key(
        [
            Line2D([], [], color=colour, marker=mark, linestyle="", markersize=6, label="unchanged" if n == NONE else n)
            for n, colour, mark in zip(names, _COLOURS, MARKERS, strict=False)
        ]
    )
    return page


def _panel(axes: Axes, values: "object", names: list[str]) -> None:
    sites = list(values.index)  # type: ignore[attr-defined]
    for name, colour, mark, offset in zip(names, _COLOURS, MARKERS, offsets(len(names), 0.6), strict=False):
        if name in values:  # type: ignore[operator]
            axes.plot(np.arange(len(sites)) + offset, positive(values[name]), mark, color=colour, markersize=6)  # type: ignore[index]
    axes.margins(y=0.1)
    log_axis(axes)
    axes.set_xticks(range(len(sites)), [literal(printable(site.rsplit(".", 1)[-1], 12)) for site in sites], rotation=30)
    axes.set_xlabel("linear module")
    axes.grid(visible=False, axis="x")


ENTRY = Entry(
    "remains",
    "What is left of the outliers under each mitigation",
    draw,
    "Of what each linear module reads, unquantized, over the calibration windows: the largest |x|, and Pearson's "
    "kurtosis of all its values, each the largest over layers. Mitigations that change ranges or leave modules "
    "out do not change what modules read and are not drawn. Under `prefix` the tokens of the prefix are read "
    "once, before, and not counted. The first two models are drawn; the table `mitigation_sites` has all, layer "
    "by layer.",
    applies=lambda run: "mitigation_sites" in run.tables and len(run["mitigation_sites"]) > 0,
)
