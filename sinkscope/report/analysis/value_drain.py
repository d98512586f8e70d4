"""Value-state drain: sinks that carry little, and where there is V-scale, how strongly its valve is set."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from sinkscope.quantities.measured import NEIGHBOURS
from sinkscope.report import style
from sinkscope.report.analysis.chain_panels import drain_title
from sinkscope.report.axes import heatmap, layer_axis, log_axis, marker, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_LEAST = 1e-3  # reach of the colours where theta has not moved at all


def draw(run: Run) -> Page:
    """Norms of the values by layer and their ratio by kv head; with V-scale also scaled norms and theta."""
    page = Page()
    layers, heads = run.info["model"]["layers"], run.info["model"]["kv_heads"]
    if "vscale" not in run.tables:
        upper, lower = page.subplots(2, 1)
        known = run.info["headline"]["value_drain"] is not None
        _norms(upper, run["values"], "norm", layers, drain_title(run) if known else "Norm of the values")
        _ratios(lower, run["values"], layers, heads)
        return page
    grid = page.subplots(2, 2)
    _norms(grid[0, 0], run["values"], "norm", layers, "Raw values")
    _norms(grid[0, 1], run["values"], "norm_scaled", layers, "Values after V-scale")
    _ratios(grid[1, 0], run["values"], layers, heads)
    _theta(grid[1, 1], run["vscale"], layers, heads)
    return page


def _zero_and_early(values: pd.DataFrame, column: str) -> pd.DataFrame:
    """Per layer and kv head: norm at token 0, mean and largest over the early positions."""
    keys = ["layer", "kv_head"]
    early = values[values["position"].between(*NEIGHBOURS)].groupby(keys)[column]
    zero = values[values["position"] == 0].set_index(keys)[column]
    return pd.DataFrame({"t0": zero, "early": early.mean(), "largest": early.max()})


def _norms(axes: Axes, values: pd.DataFrame, column: str, layers: int, title: str) -> None:
    norms = _zero_and_early(values, column).groupby("layer").mean()
    shape = marker(layers)
    axes.plot(norms.index, positive(norms["t0"]), color=style.TOKEN_ZERO, label="token 0", marker=shape)
    axes.plot(
        norms.index, positive(norms["early"]), color=style.EARLY_MEAN, label="positions 1 to 15, mean", marker=shape
    )
    axes.plot(norms.index, positive(norms["largest"]), color=style.EARLY_MAX, linestyle="--",
              label="positions 1 to 15, largest")  # fmt: skip
    axes.set_ylabel("|v|, mean over kv heads\n(model units)")
    axes.set_title(title)
    log_axis(axes)
    layer_axis(axes, layers)
    axes.legend(loc="best")


def _ratios(axes: Axes, values: pd.DataFrame, layers: int, heads: int) -> None:
    norms = _zero_and_early(values, "norm")
    ratio = _grid(norms["t0"] / norms["early"], layers, heads)
    known = ratio[np.isfinite(ratio) & (ratio > 0)]
    if not len(known):
        write_sentence(axes, "The ratio is not defined: there is no early token, or its values are zero.")
        return
    reach = max(float(np.exp(np.abs(np.log(known)).max())), 1.5)
    heatmap(axes, np.where(ratio > 0, ratio, np.nan), "ratio", norm=LogNorm(1 / reach, reach), colours=style.DIVERGING,
            rows="kv head")  # fmt: skip
    axes.set_title("|v| of token 0 over the early mean")


def _theta(axes: Axes, vscale: pd.DataFrame, layers: int, heads: int) -> None:
    theta = _grid(vscale.set_index(["layer", "kv_head"])["theta"], layers, heads)
    reach = float(np.nanmax(np.abs(theta))) or _LEAST
    heatmap(axes, theta, "theta", norm=Normalize(-reach, reach), colours=style.DIVERGING, rows="kv head")
    axes.set_title("Learned theta of V-scale")


def _grid(values: "pd.Series[float]", layers: int, heads: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Values indexed by (layer, kv head) as [kv head, layer]."""
    table = values.rename("value").reset_index().pivot_table(index="kv_head", columns="layer", values="value")
    return table.reindex(index=range(heads), columns=range(layers)).to_numpy(dtype=float)


ENTRY = Entry(
    "value_drain",
    "Value-state drain",
    draw,
    "Norm of the raw value projection at token 0 against the mean and the largest over positions 1 to 15, equation "
    "(4), mean over sequences. A ratio below 1 means that token 0, however much attention it collects, adds little "
    "to the output. With V-scale: the norms that attention sees, and theta of equation (15); a larger theta damps "
    "more.",
)
