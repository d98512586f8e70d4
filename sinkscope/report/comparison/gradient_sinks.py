"""Gradient sinks side by side: how the ratio is distributed over the layers of each run."""

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from sinkscope.report import style
from sinkscope.report.axes import decades, positive, write_sentence
from sinkscope.report.comparison.runs import Side, members, sides_of
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run

_ENOUGH = 5  # a density needs this many different values


def draw(run: Run) -> Page:
    """A violin per run with its median and quartiles."""
    page = Page()
    axes = page.subplots()
    sides = sides_of(run)
    room = 0.9 * (RIGHT - LEFT - 0.06) * style.POINTS[0] / len(sides)
    ticks, drawn = [], False
    for place, side in enumerate(sides):
        ratios = positive(members(run, "compared_layers", side)["gradient_sink_ratio"])
        ratios = ratios[np.isfinite(ratios)]
        drawn |= len(ratios) > 0
        ticks.append("\n".join([side.label(room), *_quartiles(axes, place, side, ratios)]))
    if not drawn:
        write_sentence(axes, "The gradient-sink ratio is not defined in any layer of any run.")
        return page
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set_xticks(range(len(sides)), ticks)
    axes.set_xlim(-0.6, len(sides) - 0.4)
    axes.set_xlabel("run; median and quartiles over layers")
    axes.set_ylabel("gradient-sink ratio R_GS(0)")
    decades(axes, "y")
    return page


def _quartiles(axes: Axes, place: int, side: Side, ratios: NDArray[np.float64]) -> list[str]:
    """Draws one run's violin, and returns its median and quartiles in two lines."""
    if not len(ratios):
        return ["not defined", ""]
    logs = np.log10(ratios)
    if len(np.unique(logs)) >= _ENOUGH:
        body = axes.violinplot(logs, [place], widths=0.8, showextrema=False)["bodies"][0]  # type: ignore[index]
        body.set(facecolor=side.colour, alpha=0.3, linewidth=0)
    spread = 0.12 * np.linspace(-1, 1, len(logs)) if len(logs) > 1 else np.zeros(1)
    axes.plot(place + spread, logs, linestyle="", marker=side.marker, color=side.colour, alpha=0.6, markersize=3.5)
    low, middle, high = np.quantile(logs, (0.25, 0.5, 0.75))
    axes.vlines(place, low, high, color=side.colour, linewidth=4)
    axes.plot(place, middle, "o", color="white", markeredgecolor=side.colour, markersize=7)
    first, second, third = (number(float(value)) for value in np.quantile(ratios, (0.25, 0.5, 0.75)))
    return [second, f"{first} to {third}"]


ENTRY = Entry(
    "gradient_sinks",
    "Gradient sinks side by side",
    draw,
    "R_GS(0) of each layer, equation (6): norm at token 0 of the batch-summed gradient at the attention norm's "
    "output over its mean at the early positions. Violin: distribution over layers; small marks: the layers, from "
    "the first (left) to the last (right); bar: quartiles; white dot: median. Layers of all seeds of a run are "
    "pooled. The line marks a ratio of 1.",
    needs_backward=True,
)
