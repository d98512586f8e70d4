"""How much of the attention goes to token 0, layer by layer: sink rate, column mass, and its relation to norms."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sinkscope.report import style
from sinkscope.report.axes import layer_axis, log_axis, marker, positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run


def draw(run: Run) -> Page:
    """Sink rate with its spread over sequences, column mass with its spread over heads, and a rank correlation."""
    page = Page()
    layers = run.info["model"]["layers"]
    rate, mass, correlation = page.subplots(3, 1, height_ratios=(1.2, 1.2, 0.8))
    _rate(rate, run, layers)
    _mass(mass, run, layers)
    _correlation(correlation, run, layers)
    return page


def _rate(axes: Axes, run: Run, layers: int) -> None:
    each = run["sequences"][run["sequences"]["metric"] == "sink_rate"].groupby("layer")["value"]
    low, high = each.quantile(0.25), each.quantile(0.75)
    axes.fill_between(low.index.astype(int), low.astype(float), high.astype(float), color=style.SKY, alpha=0.5,
                      linewidth=0, label="quartiles over sequences")  # fmt: skip
    axes.plot(run["layers"]["layer"], run["layers"]["sink_rate"], marker=marker(layers), color=style.BLUE, label="mean")
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("sink rate\n(share of heads)")
    axes.set_title("Heads with a sink at token 0")
    layer_axis(axes, layers)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _mass(axes: Axes, run: Run, layers: int) -> None:
    first = run["heads"][run["heads"]["position"] == 0]
    by_layer = first.groupby("layer")["mass"]
    axes.fill_between(by_layer.min().index, positive(by_layer.min()), positive(by_layer.max()), color=style.PALE,
                      linewidth=0, label="smallest to largest head")  # fmt: skip
    axes.plot(by_layer.mean().index, positive(by_layer.mean()), marker=marker(layers), color=style.VERMILION,
              label="mean over heads")  # fmt: skip
    uniform = float((1 / np.arange(1, run.info["data"]["tokens"] + 1)).sum())
    axes.axhline(uniform, color=style.BLACK, linestyle="--", linewidth=1, label=f"uniform attention: {uniform:.1f}")
    axes.axhline(run.info["data"]["tokens"], color=style.GREY, linestyle=":", label="all attention")
    axes.set_ylabel("column mass M\n(sum of weights)")
    axes.set_title("Attention that token 0 collects over the whole sequence")
    log_axis(axes)
    layer_axis(axes, layers)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _correlation(axes: Axes, run: Run, layers: int) -> None:
    known: pd.Series[float] = run["layers"]["alpha_norm_correlation"]
    axes.plot(run["layers"]["layer"], known, marker=marker(layers), color=style.GREEN)
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel("rank\ncorrelation")
    axes.set_title(
        "Do tokens that collect attention have large norms?" + ("" if known.notna().any() else " (not defined)")
    )
    layer_axis(axes, layers)


ENTRY = Entry(
    "sink_rate",
    "Sink rate and column mass by layer",
    draw,
    "Sink rate: share of a layer's heads with alpha_0 above epsilon, judged in every sequence and averaged, "
    "equation (1). Column mass M_0: sum over all queries of the weight on token 0, mean over sequences, equation "
    "(2); a dashed line marks attention spread evenly over all keys, a dotted one all attention on token 0. "
    "Correlation: Spearman's, over positions s, of head-averaged alpha_s with the mean norm of the residual stream "
    "entering the layer.",
)
