"""The measurement's own check: quantities against what theory allows, and gradients against attention mass."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.axes import decades, layer_axis, log_axis, marker, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import number
from sinkscope.tables.applicability import reason
from sinkscope.tables.run_folder import Run

_BOUNDS = {
    "value_mass": ("|dL/dv| against mass (12)", style.BLUE, "nats per unit"),
    "value_moment": ("|dL/dv| against moment (12)", style.GREEN, "nats per unit"),
    "compress_attn": ("Compress, attention (13)", style.VERMILION, "1 / model unit"),
    "compress_mlp": ("Compress, MLP (13)", style.ORANGE, "1 / model unit"),
}
_SHORT = {"value_mass": "value, mass", "value_moment": "value, moment", "compress_attn": "compress, attn",
          "compress_mlp": "compress, MLP"}  # fmt: skip


def draw(run: Run) -> Page:
    """A scatter per bound with the identity line, the largest ratio per layer, and the slope on mass."""
    page = Page()
    grid = page.subplots(2, 3)
    for axes, bound in zip((grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1]), _BOUNDS, strict=True):
        _against(axes, run, bound)
    _largest(grid[0, 2], run)
    _slope(grid[1, 2], run)
    page.key([Line2D([], [], color=_BOUNDS[bound][1], label=name) for bound, name in _SHORT.items()])
    return page


def _pairs(run: Run, kind: str) -> pd.DataFrame:
    pairs = run["scatter"][run["scatter"]["kind"] == kind]
    return pairs[(pairs["x"] > 0) & (pairs["y"] > 0)]


def _against(axes: Axes, run: Run, bound: str) -> None:
    title, colour, unit = _BOUNDS[bound]
    rows = run["bounds"][run["bounds"]["bound"] == bound]
    pairs = _pairs(run, bound)
    if pairs.empty:
        axes.set_title(title)
        why = reason(run, bound)
        none = "No pair was sampled: every bound is zero, or no gradient arrives."
        write_sentence(axes, none if why is None else f"Not applicable: {why}.", 180)
        return
    axes.set_title(
        f"{title}\n{number(int(rows['violations'].sum()))} violations of {number(int(rows['checked'].sum()))}"
    )
    x, y = np.log10(pairs["x"]), np.log10(pairs["y"])
    axes.plot(x, y, "o", color=colour, alpha=0.4, markersize=_dot(len(x)), markeredgewidth=0, rasterized=True)
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, ends, color=style.BLACK, linewidth=1.2)
    axes.set_xlabel(f"bound ({unit})")
    axes.set_ylabel(f"measured ({unit})")
    decades(axes)


def _largest(axes: Axes, run: Run) -> None:
    axes.set_title("Largest measured / bound by layer")
    if not (run["bounds"]["max_ratio"] > 0).any():
        write_sentence(axes, "No bound was checked.", 180)
        return
    layers = run.info["model"]["layers"]
    for bound, (_, colour, _) in _BOUNDS.items():
        rows = run["bounds"][run["bounds"]["bound"] == bound]
        axes.plot(rows["layer"], positive(rows["max_ratio"]), color=colour, marker=marker(layers), linewidth=1.2)
    axes.axhline(1, color=style.BLACK, linewidth=1.2)
    axes.set_ylabel("measured / bound")
    layer_axis(axes, layers, bins=6)
    log_axis(axes)


def _slope(axes: Axes, run: Run) -> None:
    head, pairs = run.info["headline"], _pairs(run, "mass_slope")
    if pairs.empty or head["mass_slope"] is None:
        axes.set_title("Gradient on mass (11)")
        write_sentence(axes, "The slope is not defined: too few columns carry mass and gradient.", 180)
        return
    slope, low, high, fit = (head.get(f"mass_slope{end}") for end in ("", "_low", "_high", "_r2"))
    within = [] if low is None or fit is None else [f"{number(low)} to {number(high)}"]
    within += [] if fit is None else [f"R^2 {number(fit, 2)}"]
    axes.set_title("\n".join([f"Gradient on mass (11): {number(slope)}", ", ".join(within)]).rstrip())
    x, y = np.log10(pairs["x"]), np.log10(pairs["y"])
    axes.plot(x, y, "o", color=style.PURPLE, alpha=0.4, markersize=_dot(len(x)), markeredgewidth=0, rasterized=True)
    ends = np.array([x.min(), x.max()])
    axes.plot(ends, y.mean() + slope * (ends - x.mean()), color=style.BLACK, linewidth=1.5, label="fit")
    axes.plot(ends, y.mean() + ends - x.mean(), color=style.GREY, linestyle="--", linewidth=1.2, label="slope 1")
    axes.set_xlabel("squared column mass")
    axes.set_ylabel("|dL/dv| squared\n(nats^2 per unit^2)")
    decades(axes)
    axes.legend(loc="upper left")


def _dot(count: int) -> float:
    """Size of a dot in points, smaller where there are many."""
    return 4.0 if count < 500 else 2.0


ENTRY = Entry(
    "bounds",
    "Measured against bounds",
    draw,
    "Bounds (12) on value gradients and (13) on the norms' Jacobians hold for every token of any model: dots lie on "
    "or below the line, and a violation means a wrong measurement. Dots are a sample; the counts cover all pairs. "
    "Slope (11): least squares of log |dL/dv|^2 on log M^2 over layers, kv heads, early positions and sequences, with "
    "a 95 % interval over sequences; 1 where gradients add coherently.",
    needs_backward=True,
)
