"""Where gradients gather among the early tokens, and how strongly, layer by layer."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sinkscope.report import style
from sinkscope.report.analysis.chain_panels import gradient_title
from sinkscope.report.axes import decades, layer_axis, marker, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import number, wrapped
from sinkscope.tables.applicability import reason
from sinkscope.tables.run_folder import Run

_GROUPS = ((0, 0), (1, 1), (2, 2), (3, 3), (4, 7), (8, 15), (16, 31))
_TITLE = 330.0  # points that a line of a title may take
_ENOUGH = 5  # a density needs this many different values


def draw(run: Run) -> Page:
    """Violins of relative gradient norm per token group over layers, and R_GS by layer."""
    page = Page()
    left, right = page.subplots(1, 2, sharey=_both(run))
    relative = _relative(run)
    if relative["ratio"].notna().any():
        _violins(left, relative)
    else:
        write_sentence(left, "No gradient reaches the early tokens at this site.")
    _ratios(right, run)
    for axes in (left, right):
        if axes.axison:
            decades(axes, "y")
            axes.tick_params(labelleft=True)
    return page


def _both(run: Run) -> bool:
    """Whether both panels have something to draw, on one vertical axis: each is a norm over the same early mean."""
    return bool((run["layers"]["gradient_sink_ratio"] > 0).any() and run.info["headline"]["gradient_sink_median"])


def _relative(run: Run) -> pd.DataFrame:
    """Gradient norm at hn over its layer's mean at positions 1..early, per layer and early position."""
    at_norm = (run["positions"]["site"] == "hn") & (run["positions"]["position"] <= run.info["settings"]["early"])
    rows: pd.DataFrame = run["positions"].loc[at_norm, ["layer", "position", "grad_norm"]]
    early = rows[rows["position"] > 0].groupby("layer")["grad_norm"].mean()
    rows["ratio"] = positive(rows["grad_norm"]) / positive(rows["layer"].map(early))
    return rows


def _violins(axes: Axes, relative: pd.DataFrame) -> None:
    last = int(relative["position"].max())
    groups = [(first, min(final, last)) for first, final in _GROUPS if first <= last]
    for place, (first, final) in enumerate(groups):
        values = relative.loc[relative["position"].between(first, final), "ratio"].dropna().to_numpy()
        colour = style.TOKEN_ZERO if first == 0 else style.EARLY_MEAN
        _violin(axes, place, np.log10(values), colour)
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    axes.set_xticks(range(len(groups)), [f"{a}" if a == b else f"{a} to {b}" for a, b in groups])
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_xlabel("token position")
    axes.set_ylabel("|dL/dhn| over the layer's early mean")
    axes.set_title("Gradient norm by position, over layers")


def _violin(axes: Axes, place: int, values: np.ndarray[tuple[int], np.dtype[np.float64]], colour: str) -> None:
    if len(np.unique(values)) >= _ENOUGH:
        bodies: Any = axes.violinplot(values, [place], widths=0.85, showextrema=False)["bodies"]
        bodies[0].set(facecolor=colour, alpha=0.35, linewidth=0)
        low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
        axes.vlines(place, low, high, color=colour, linewidth=5)
        axes.plot(place, middle, "o", color="white", markeredgecolor=colour, markersize=6)
    else:
        axes.plot(np.full(len(values), place), values, "o", color=colour, alpha=0.7)


def _ratios(axes: Axes, run: Run) -> None:
    layers, head = run.info["model"]["layers"], run.info["headline"]
    ratio = run["layers"]["gradient_sink_ratio"]
    if not (ratio > 0).any() or head["gradient_sink_median"] is None:
        write_sentence(axes, "The gradient-sink ratio is not defined in any layer.")
        return
    low, middle, high = (head[f"gradient_sink_{name}"] for name in ("q25", "median", "q75"))
    axes.axhspan(np.log10(low), np.log10(high), color=style.PALE, label=f"quartiles {number(low)} to {number(high)}")
    axes.axhline(np.log10(middle), color=style.BLACK, linestyle="--", linewidth=1.2, label=f"median {number(middle)}")
    axes.plot(run["layers"]["layer"], np.log10(positive(ratio)), marker=marker(layers), color=style.TOKEN_ZERO,
              label="layer")  # fmt: skip
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.set_ylabel("gradient-sink ratio R_GS(0)")
    axes.set_title("\n".join(wrapped(gradient_title(run), _TITLE, style.HEADING)))
    layer_axis(axes, layers)
    axes.legend(loc="best")


ENTRY = Entry(
    "gradient_sink",
    "Gradient sink at token 0",
    draw,
    "Norm of dL/dhn, hn being the output of the attention branch's norm; gradients are summed over all sequences "
    "before the norm is taken. R_GS(0): norm at token 0 over the mean at positions 1 to T_e, equation (6), T_e = 31 "
    "unless set otherwise. Left: distribution over layers of the norm at each position, relative to the same mean; "
    "bars are quartiles, dots medians, the line is the early mean. Right: the "
    "same at token 0, layer by layer, on the same axis.",
    needs_backward=True,
    applies=lambda run: reason(run, "gradient_sink_ratio") is None,
)
