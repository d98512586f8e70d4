"""The same numbers layer by layer: a picture with a column per checkpoint and a row per layer."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from sinkscope.report import style
from sinkscope.report.axes import colour_bar, colour_map, count_axis, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.tracking.sentences import steps_of
from sinkscope.report.tracking.steps import checkpoint_axis
from sinkscope.tables.run_folder import Run

_PANELS = (
    ("sink_rate", "Sink rate", "share of heads", False),
    ("gradient_sink_ratio", "Gradient-sink ratio R_GS(0)", "ratio", True),
    ("residual_t0_over_early", "Residual norm, token 0 over early", "ratio", True),
    ("abs_max", "Largest |x| in the residual stream", "|x|", True),
)


def draw(run: Run) -> Page:
    """Four heatmaps layer x checkpoint."""
    page = Page()
    for axes, (metric, title, label, log) in zip(page.subplots(2, 2).flat, _PANELS, strict=True):
        grid = layer_grid(run, metric)
        if not np.isfinite(positive(grid) if log else grid).any():
            write_sentence(axes, f"{title}: not measured.")
            continue
        evolution_map(axes, grid, steps_of(run), label, norm=_norm(grid, log))
        axes.set_title(title)
    return page


def layer_grid(run: Run, metric: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A metric of the table `track_layers` by [layer, checkpoint]; NaN where there is none."""
    steps = steps_of(run)
    rows = run["track_layers"][run["track_layers"]["metric"] == metric]
    grid = np.full((run.info["model"]["layers"], len(steps)), np.nan)
    grid[rows["layer"], np.searchsorted(steps, rows["step"])] = rows["value"]
    return grid


def evolution_map(
    axes: Axes, grid: Any, steps: list[int], label: str, *, norm: Normalize, colours: str = style.SEQUENTIAL
) -> None:
    """A picture of a quantity per checkpoint (to the right) and layer (upwards), with a colour bar."""
    values = positive(grid) if isinstance(norm, LogNorm) else grid
    image = axes.imshow(values, cmap=colour_map(colours), norm=norm, aspect="auto", origin="lower")
    axes.grid(visible=False)
    count_axis(axes, grid.shape[0], "layer", "y")
    checkpoint_axis(axes, steps, 9)
    colour_bar(image, axes, label, pad=0.02, aspect=30)


def _norm(grid: Any, log: bool) -> Normalize:
    if not log:
        return Normalize(0, 1)
    known = positive(grid)
    low, high = float(np.nanmin(known)), float(np.nanmax(known))
    if high / low < 2:
        middle = (low * high) ** 0.5
        low, high = middle / 2**0.5, middle * 2**0.5
    return LogNorm(low, high)


ENTRY = Entry(
    "layers",
    "Evolution layer by layer",
    draw,
    "One column per checkpoint, not to the scale of steps. Sink rate: equation (1); R_GS: equation (6), pale where it "
    "is undefined; token 0 over the mean of positions 1 to 15 and the largest entry: of the residual "
    "stream leaving the layer. Colours of ratios and sizes are logarithmic.",
)
