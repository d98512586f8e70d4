"""The worst modules' values against their quantization steps."""

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.quantization.sentences import apart, models
from sinkscope.report.quantization.shared import SIDE_BY_SIDE
from sinkscope.report.text import literal, printable
from sinkscope.tables.run_folder import Run

_WORST = 4
_TENSORS: dict[str, tuple[str, Any]] = {"activation": (style.VERMILION, "-"), "weight": (style.BLUE, "--")}
_N = 127  # largest code of 8 bits


def draw(run: Run) -> Page:
    """A row per model, a panel per module: shares of values by |x| over the largest |x|."""
    page = Page()
    table = run["histograms"]
    names = [model for model in models(run) if (table["model"] == model).any()][:SIDE_BY_SIDE]
    panels = page.subplots(len(names), _WORST, squeeze=False, sharex=True, sharey=True)
    for row, model in zip(panels, names, strict=True):
        of_model = table[table["model"] == model]
        modules = list(dict.fromkeys(of_model["module"]))
        for axes, module in zip(row, modules, strict=False):
            _panel(axes, of_model[of_model["module"] == module], apart(run, model))
        for axes in row[len(modules) :]:
            axes.set_axis_off()
        row[0].set_ylabel("share of values")
    for axes in panels[-1]:
        axes.set_xlabel("|x| / largest |x|")
    for axes in panels.flat:
        axes.tick_params(labelbottom=True)
    page.key(
        [Line2D([], [], color=colour, linestyle=line, label=name) for name, (colour, line) in _TENSORS.items()]
        + [Line2D([], [], color=style.GREY, linestyle=":", label="half a step at 8 bits")]
    )
    return page


def _panel(axes: Axes, rows: pd.DataFrame, model: str) -> None:
    """One module's values; `model` is named where a run has several."""
    for tensor, (colour, line) in _TENSORS.items():
        of = rows[rows["tensor"] == tensor]
        if of["count"].sum():
            largest = of["high"].max()
            edges = [*(of["low"] / largest), 1.0]
            axes.stairs(of["count"] / of["count"].sum(), edges, color=colour, linestyle=line, linewidth=1.5)
    axes.axvline(0.5 / _N, color=style.GREY, linestyle=":", linewidth=1.4)
    axes.set_xscale("log")
    axes.set_xlim(1e-6, 1.5)
    axes.set_xticks([1e-6, 1e-4, 1e-2, 1], ["1e-6", "1e-4", "0.01", "1"])
    axes.minorticks_off()
    first = rows.iloc[0]
    site = printable(first["site"].rsplit(".", 1)[-1], 14)
    below = f"\n{printable(model, 20, keep_end=True)}" if model else ""
    axes.set_title(literal(f"{site} {first['layer']}{below}"), fontsize=style.BODY)


ENTRY = Entry(
    "histograms",
    "Values of the worst modules against the step",
    draw,
    "The modules that hurt most alone, worst first. Shares of values in bins of half an octave of |x|, relative to "
    "the largest |x|: of the whole input tensor (what a static scale follows) and of the whole weight. To the left of "
    "the dotted line, half a step of 8 bits, values of a statically scaled input are rounded to zero; weights have a "
    "scale per output channel and dynamic activations one per token, which are finer. The first bin also holds what "
    "is smaller.",
    applies=lambda run: "histograms" in run.tables and len(run["histograms"]) > 0,
)
