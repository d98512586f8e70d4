"""How V-scale's thresholds move: theta by layer and checkpoint, and its range."""

import numpy as np
from matplotlib.colors import Normalize

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.tracking.layers import evolution_map, layer_grid
from sinkscope.report.tracking.sentences import series, steps_of
from sinkscope.report.tracking.steps import step_axis
from sinkscope.tables.run_folder import Run

_LEAST = 1e-3  # reach of the colours where theta has not moved at all


def draw(run: Run) -> Page:
    """A heatmap layer x checkpoint of theta, and mean, smallest and largest against step."""
    page = Page()
    upper, lower = page.subplots(2, 1)
    grid = layer_grid(run, "theta")
    largest = float(np.nanmax(np.abs(grid))) or _LEAST
    evolution_map(upper, grid, steps_of(run), "theta, mean over value heads", norm=Normalize(-largest, largest),
                  colours=style.DIVERGING)  # fmt: skip
    upper.set_title("theta by layer")
    for name, colour in (("theta_max", style.VERMILION), ("theta_mean", style.BLACK), ("theta_min", style.BLUE)):
        values = series(run, name)["value"]
        lower.plot(values.index, values, color=colour, marker="o", label=name.removeprefix("theta_"))
    lower.axhline(0, color=style.GREY, linewidth=0.8)
    lower.set_ylabel("theta")
    lower.set_title("Range over layers and value heads")
    step_axis(lower, steps_of(run))
    lower.legend(loc="best")
    return page


ENTRY = Entry(
    "theta",
    "V-scale along training",
    draw,
    "theta is the learned exponent of equation (15): C = C_0 exp(theta). Above 0 the valve is stronger than at the "
    "start of training, below 0 weaker.",
    applies=lambda run: len(series(run, "theta_mean")) > 0,
)
