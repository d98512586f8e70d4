"""A mixture of experts: how far each expert's activations reach, and where the sink tokens are routed."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from sinkscope.report import style
from sinkscope.report.axes import heatmap, layer_axis, marker
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_NAMES = {"sink": "other sinks", "other": "other tokens"}
_LOOKS = {"sink": (style.VERMILION, "-"), "other": (style.BLUE, "--")}


def draw(run: Run) -> Page:
    """Ranges by expert and layer, super experts marked; routing of sink tokens against others; shared experts."""
    page = Page()
    (ranges, outputs), (routing, overlap) = page.subplots(2, 2)
    routed = run["experts"][run["experts"]["kind"] == "routed"]
    _range(ranges, run, routed, "abs_max", "largest |x| (model units)")
    ranges.set_title("Input of each expert's down projection (down_in)")
    _range(outputs, run, routed, "output_abs_max", "largest |x| (model units)")
    outputs.set_title("Output of each expert")
    supers = routed[routed["is_super"]]
    outputs.plot(
        supers["layer"],
        supers["expert"],
        linestyle="",
        marker="o",
        color="white",
        markeredgecolor="black",
    )
    _difference(routing, run)
    _overlap(overlap, run)
    page.key(overlap.get_legend_handles_labels()[0], "Below right")
    return page


def _grid(run: Run, rows: pd.DataFrame, column: str) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Values by [expert, layer]; NaN in dense layers."""
    grid = np.full((int(run["router"]["expert"].max()) + 1, run.info["model"]["layers"]), np.nan)
    grid[rows["expert"], rows["layer"]] = rows[column]
    return grid


def _range(axes: Axes, run: Run, rows: pd.DataFrame, column: str, label: str) -> None:
    grid = _grid(run, rows, column)
    positive = grid[grid > 0]
    high = float(positive.max()) if len(positive) else 1.0
    low = float(positive.min()) if len(positive) else 0.1
    norm = LogNorm(max(min(low, high / 10), high * 1e-5), high * 1.0001)
    heatmap(axes, np.where(grid > 0, grid, np.nan), label, norm=norm, rows="expert")


def _difference(axes: Axes, run: Run) -> None:
    router = run["router"]
    sinks = router[router["group"] != "other"].groupby(["layer", "expert"])["tokens"].sum()
    counts = run["routing"][run["routing"]["group"] != "other"].groupby("layer")["tokens"].sum()
    others = router[router["group"] == "other"].set_index(["layer", "expert"])["share"]
    shares = sinks.div(counts, level="layer").sub(others).rename("share").reset_index()
    limit = max(float(shares["share"].abs().max()) if shares["share"].notna().any() else 0.0, 0.01)
    heatmap(axes, _grid(run, shares, "share"), "difference of shares", norm=Normalize(-limit, limit),
            colours=style.DIVERGING, rows="expert")  # fmt: skip
    axes.set_title("Share of sink tokens routed to it, minus that of others")


def _overlap(axes: Axes, run: Run) -> None:
    routing, layers = run["routing"], run.info["model"]["layers"]
    for group, name in _NAMES.items():
        rows = routing[routing["group"] == group].set_index("layer")["overlap_first"].reindex(range(layers))
        colour, line = _LOOKS[group]
        axes.plot(rows.index, rows, color=colour, linestyle=line, marker=marker(layers), label=name)
    chosen = run["router"].groupby(["layer", "group"])["share"].sum().groupby("layer").mean()
    chance = (chosen / run["router"].groupby("layer")["expert"].nunique()).reindex(range(layers))
    axes.plot(chance.index, chance, color=style.GREY, linestyle=(0, (1, 2)), label="chance (k of E)")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("share of experts in common")
    layer_axis(axes, layers)
    axes.set_title("Experts shared with token 0")


ENTRY = Entry(
    "experts",
    "Experts: their range, and where sink tokens are routed",
    draw,
    "Above: largest |x| entering and leaving each expert's down projection, before the router weight; white dots "
    "mark super experts (99.5th percentile, a tenth of the largest, in a layer that forms massive activations). Grey: "
    "no tokens, or a dense layer. Below left: sink tokens are position 0 and every position where a head of the layer "
    "has a sink. Below right: the experts that a token has in common with a token at position 0, mean over pairs; "
    "chance is the share under uniform routing.",
    applies=lambda run: "experts" in run.tables,
)
