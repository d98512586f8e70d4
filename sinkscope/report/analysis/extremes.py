"""How extreme each layer is on a continuous scale: models that miss the binary test can still be hard to quantize."""

import pandas as pd
from matplotlib.axes import Axes

from sinkscope.report import style
from sinkscope.report.axes import layer_axis, log_axis, marker, positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run

_SITES = {"h_out": style.VERMILION, "r_attn": style.GREEN, "r_mlp": style.BLUE, "down_in": style.ORANGE}
_LINES = {"h_out": "-", "r_attn": "--", "r_mlp": "-.", "down_in": ":"}


def draw(run: Run) -> Page:
    """Largest entry, its ratio to the median, and kurtosis by layer."""
    page = Page()
    highest = run["massive"].groupby(["layer", "site"])["ratio_to_median"].max().rename("ratio").reset_index()
    sites = run["sites"].merge(highest, on=["layer", "site"], how="left")
    panels = page.subplots(3, 1, sharex=True)
    for axes, column, label, title, threshold in (
        (panels[0], "abs_max", "largest |x|\n(model units)", "Largest |x|", 100),
        (panels[1], "ratio", "|x| / median |x|", "Largest ratio of an entry to its median", 1000),
        (panels[2], "kurtosis", "kurtosis", "Largest kurtosis", 3),
    ):
        _curves(axes, run, sites, column)
        axes.axhline(threshold, color=style.GREY, linestyle=(0, (1, 3)), label="_reference")
        axes.set_ylabel(label)
        axes.set_title(_where(sites, column, title))
        log_axis(axes)
        layer_axis(axes, run.info["model"]["layers"], "")
        axes.tick_params(labelbottom=True)
    panels[2].set_xlabel("layer")
    panels[0].legend(loc="upper left", bbox_to_anchor=(1, 1))
    return page


def _where(sites: pd.DataFrame, column: str, what: str) -> str:
    """The largest value of a panel, and where it is."""
    shown = sites[sites["site"].isin(list(_SITES)) & (sites[column] > 0)]
    if shown.empty:
        return what
    row = shown.nlargest(1, column).iloc[0]
    return f"{what}: {number(float(row[column]))} in {row['site']} of layer {row['layer']}"


def _curves(axes: Axes, run: Run, sites: pd.DataFrame, column: str) -> None:
    for site, colour in _SITES.items():
        rows = sites[sites["site"] == site]
        axes.plot(rows["layer"], positive(rows[column]), color=colour, linestyle=_LINES[site],
                  marker=marker(run.info["model"]["layers"]), label=site)  # fmt: skip


ENTRY = Entry(
    "extremes",
    "How extreme each layer is",
    draw,
    "Over all tokens and channels of the run: largest |x|, largest ratio of an entry to the median |x| of its own "
    "sequence, layer and site (not always that of the largest entry), and Pearson's kurtosis with population moments, "
    "equation (5). Thin dotted lines: the thresholds of the binary test, |x| = 100 and 1000 times the median (an entry "
    "must pass both), and the kurtosis 3 of a normal distribution.",
)
