"""Two facts side by side: how extreme a model's activations are, and what quantization costs it."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator

from sinkscope.report.axes import positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.quantization.sentences import methods, plain_rows
from sinkscope.report.quantization.shared import (
    MARKERS,
    change_axis,
    coloured,
    handles,
    intervals,
    method_axis,
    named_axis,
    offsets,
)
from sinkscope.tables.run_folder import Run

_METRICS = (
    ("abs_max", "largest |x|"),
    ("abs_max_over_median", "largest / median"),
    ("kurtosis_max", "kurtosis"),
    ("sink_rate_mean", "sink rate"),
)


def draw(run: Run) -> Page:
    """Four outlier metrics by model on the left, changes of the loss on the right."""
    page = Page()
    grid = page.add_gridspec(2, 4, width_ratios=(1, 1, 1.3, 1.3))
    colours = coloured(run)
    table = run["outliers"].set_index("model")
    for index, (column, title) in enumerate(_METRICS):
        axes = page.add_subplot(grid[index // 2, index % 2])
        _bars(axes, table.loc[list(colours), column], colours)
        axes.set_title(title)
        axes.set_ylabel(title)
    right = page.add_subplot(grid[:, 2:])
    names = methods(run)[1:]
    rows = plain_rows(run).set_index("method")
    for (model, colour), mark, offset in zip(colours.items(), MARKERS, offsets(len(colours), 0.6), strict=False):
        intervals(right, np.arange(len(names)) + offset, rows[rows["model"] == model].loc[names], colour, mark)
    change_axis(right, plain_rows(run)["delta"])
    right.set_title("Change of the loss")
    method_axis(right, names, few=3)
    right.set_xlabel("method")
    page.key(handles(run))
    return page


def _bars(axes: Axes, values: Any, colours: dict[str, str]) -> None:
    places = np.arange(len(colours))
    axes.bar(places, positive(values), color=list(colours.values()), width=0.7)
    named_axis(axes, list(colours))
    finite = np.asarray(values, dtype=float)
    finite = finite[finite > 0]
    if len(finite) and finite.max() > 50 * finite.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatterSciNotation())
        axes.minorticks_off()
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5))


ENTRY = Entry(
    "outliers",
    "Outliers beside damage",
    draw,
    "Left: of the unquantized model on the same windows, the largest |x| of the residual stream, its ratio to the "
    "layer's median, the largest kurtosis (3: normal), and the sink rate at token 0, mean over layers, equations (1) "
    "and (5). Right: what each method costs. That the two occur together does not show that one causes the other: "
    "models with weak sinks can quantize badly, and models trained alike but for one thing differ in more than their "
    "outliers.",
    applies=lambda run: len(run["quantization"]["method"].unique()) > 1,
)
