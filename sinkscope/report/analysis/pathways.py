"""By which way gradients reach a token: queries, keys or values."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sinkscope.report import style
from sinkscope.report.analysis.sink_words import second
from sinkscope.report.axes import layer_axis, log_axis, marker, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import listed
from sinkscope.tables.run_folder import Run

_NAMES = {"q": "queries", "k": "keys", "v": "values"}


def draw(run: Run) -> Page:
    """Gradient norms of q, k and v by position, and their shares at token 0 by layer."""
    page = Page()
    upper, lower = page.subplots(2, 1)
    rows = run["positions"]
    rows = rows[rows["site"].isin(list(style.PATHWAY))]
    if not (rows["grad_norm"] > 0).any():
        write_sentence(upper, "No gradient was measured at q, k or v.")
        write_sentence(lower, "")
        return page
    _profiles(upper, rows)
    handles = [Line2D([], [], color=colour, label=site) for site, colour in style.PATHWAY.items()]
    if _mark(upper, run):
        handles.append(Line2D([], [], linestyle="", marker="v", color=style.PURPLE, markersize=7, label="second sink"))
    page.key(handles, "gradient at")
    _shares(lower, rows[rows["position"] == 0], run.info["model"]["layers"], run.info["headline"])
    return page


def _profiles(axes: Axes, rows: pd.DataFrame) -> None:
    last = int(rows["position"].max())
    for site, colour in style.PATHWAY.items():
        profile = rows[rows["site"] == site].groupby("position")["grad_norm"].mean()
        if site == "q":
            profile = profile.drop(0)  # zero but for rounding, which a logarithmic axis would blow up
        axes.plot(profile.index, positive(profile), color=colour, marker="o" if last < 40 else "")
    axes.set_xlabel("token position")
    axes.set_xlim(-0.02 * max(last, 1), 1.02 * max(last, 1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("gradient norm, mean over layers\n(nats per unit)")
    axes.set_title("Gradient norm at queries, keys and values", pad=11)
    log_axis(axes)


def _mark(axes: Axes, run: Run) -> bool:
    """Marks the positions at which a sequence has its second sink; returns whether there are any."""
    shown = [position for position in second(run)["position"].unique() if position <= axes.get_xlim()[1]]
    if not shown:
        return False
    axes.plot(shown, np.full(len(shown), 1.02), "v", color=style.PURPLE, markersize=7, clip_on=False,
              transform=axes.get_xaxis_transform())  # fmt: skip
    return True


def _shares_title(head: dict[str, Any]) -> str:
    shares = {name: head.get(f"gradient_share_{site}") for site, name in _NAMES.items()}
    known = {name: float(share) for name, share in shares.items() if share is not None}
    if len(known) < len(shares):
        return "Token 0: share of each pathway"
    ordered = sorted(known.items(), key=lambda item: -item[1])
    return f"Gradients reach token 0 {listed([f'{100 * share:.0f} % by its {name}' for name, share in ordered])}"


def _shares(axes: Axes, zero: pd.DataFrame, layers: int, head: dict[str, Any]) -> None:
    norms = zero.pivot_table(index="layer", columns="site", values="grad_norm", dropna=False)
    shares = norms.div(norms.sum(axis=1), axis=0)
    for site, colour in style.PATHWAY.items():
        if site in shares:
            axes.plot(shares.index, shares[site], color=colour, marker=marker(layers))
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("share of the three norms")
    axes.set_title(_shares_title(head))
    layer_axis(axes, layers)


ENTRY = Entry(
    "pathways",
    "Pathways of the gradient: queries, keys, values",
    draw,
    "Token-wise norms of the gradients at q, k (after the rotary embedding, which keeps norms) and v, heads "
    "concatenated, summed over sequences before the norm, mean over layers, equation (7). Under grouped-query "
    "attention k and v sum over the query heads of their group. Under a causal softmax without a learned sink no "
    "gradient reaches the query of token 0, which has one key only; it is left out above. Marks: positions at which "
    "some sequence has its second sink.",
    needs_backward=True,
)
