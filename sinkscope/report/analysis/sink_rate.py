"""How much of the attention goes to token 0, layer by layer: sink rate, column mass, and the norms of sink tokens."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from sinkscope.report import style
from sinkscope.report.analysis.chain_panels import zero_title
from sinkscope.report.axes import layer_axis, log_axis, marker, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run


def draw(run: Run) -> Page:
    """Sink rate with its spread over sequences, column mass with its spread over heads, and ranks by norm."""
    page = Page()
    layers = run.info["model"]["layers"]
    rate, mass, norms = page.subplots(3, 1, height_ratios=(1.2, 1.2, 0.8))
    _rate(rate, run, layers)
    _mass(mass, run, layers)
    (_ranks if "sink_norms" in run.tables else _correlation)(norms, run, layers)
    return page


def _rate(axes: Axes, run: Run, layers: int) -> None:
    each = run["sequences"][run["sequences"]["metric"] == "sink_rate"].groupby("layer")["value"]
    low, high = each.quantile(0.25), each.quantile(0.75)
    axes.fill_between(low.index.astype(int), low.astype(float), high.astype(float), color=style.SKY, alpha=0.5,
                      linewidth=0, label="quartiles over sequences")  # fmt: skip
    axes.plot(run["layers"]["layer"], run["layers"]["sink_rate"], marker=marker(layers), color=style.BLUE, label="mean")
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("sink rate\n(share of heads)")
    axes.set_title(zero_title(run))
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
    share = 100 * float(first["mass"].mean()) / run.info["data"]["tokens"]
    axes.set_title(f"Token 0 collects {share:.2g} % of all attention, mean over layers and heads")
    log_axis(axes)
    layer_axis(axes, layers)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _ranks(axes: Axes, run: Run, layers: int) -> None:
    """Ranks of the sink tokens' norms, the largest above."""
    rows = run["sink_norms"]
    rows = rows[rows["heads"] > 0]
    if rows.empty:
        write_sentence(axes, "There is no sink, so there is no rank of its norm.")
        return
    for at_zero, colour, name in ((True, style.TOKEN_ZERO, "token 0"), (False, style.GREEN, "later sinks")):
        shown = rows[(rows["position"] == 0) == at_zero].groupby("layer")["rank"].median()
        if len(shown):
            axes.plot(shown.reindex(range(layers)), marker="o", color=colour, label=f"{name}, median")
    lowest = int(rows["positions"].max())
    axes.axhline(lowest, color=style.GREY, linestyle=":", label=f"smallest norm: {number(lowest)}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(1.6 * lowest, 0.6)
    axes.set_ylabel("rank by\nnorm")
    axes.set_title(_rank_title(rows))
    layer_axis(axes, layers)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))


def _rank_title(rows: "pd.DataFrame") -> str:
    first = rows[rows["position"] == 0]
    if first.empty:
        return f"Sink tokens rank {number(float(rows['rank'].median()))} by norm (median)"
    share = 100 * float((first["rank"] == 1).mean())
    return f"Token 0 has the largest norm in {share:.0f} % of the layers and sequences where it is a sink"


def _correlation(axes: Axes, run: Run, layers: int) -> None:
    """What runs without ranks have: the rank correlation over all positions."""
    known: pd.Series[float] = run["layers"]["alpha_norm_correlation"]
    axes.plot(run["layers"]["layer"], known, marker=marker(layers), color=style.GREEN)
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel("rank\ncorrelation")
    axes.set_title(
        "Attention and norm over all positions, ordinary ones in the main"
        + ("" if known.notna().any() else " (not defined)")
    )
    layer_axis(axes, layers)


ENTRY = Entry(
    "sink_rate",
    "Sink rate and column mass by layer",
    draw,
    "Sink rate: share of a layer's heads with alpha_0 above epsilon, judged in every sequence and averaged, "
    "equation (1). Column mass M_0: sum over all queries of the weight on token 0, mean over sequences, equation "
    "(2); a dashed line marks attention spread evenly over all keys, a dotted one all attention on token 0. "
    "Rank: of a sink token's norm entering the layer in its sequence, 1 the largest (runs without ranks: Spearman's "
    "correlation of alpha_s with the norm).",
)
