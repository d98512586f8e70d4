"""Where the noise enters: signal-to-noise ratio of every linear module's output, by layer and site."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize

from sinkscope.report import style
from sinkscope.report.axes import heatmap
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.quantization.sentences import apart, models
from sinkscope.report.quantization.shared import SIDE_BY_SIDE, site_grid
from sinkscope.report.text import literal
from sinkscope.tables.run_folder import Run

_ROWS = 2  # probes that have a row of panels
_SITES = 12  # names that fit beside a panel


def draw(run: Run) -> Page:
    """Heatmaps sites x layers of the output's SQNR: a column per model, a row per probe."""
    page = Page()
    table = run["noise"]
    labels = models(run)[:SIDE_BY_SIDE]
    sizes = table.groupby("method", sort=False)["module"].nunique()
    broad = sizes[sizes == sizes.max()].index.tolist()
    names = broad[:_ROWS]  # the first two, in the order in which they were asked for
    panels = page.subplots(len(names), len(labels), squeeze=False)
    values = table[table["method"].isin(names) & table["model"].isin(labels)]["sqnr_output"]
    norm = Normalize(*((values.min(), max(values.max(), values.min() + 1)) if values.notna().any() else (0, 1)))
    for row, name in zip(panels, names, strict=True):
        for axes, model in zip(row, labels, strict=True):
            rows = table[(table["method"] == name) & (table["model"] == model)]
            sites = list(dict.fromkeys(rows["site"]))[::-1]
            grid = site_grid(rows, "sqnr_output", sites, int(rows["layer"].max()) + 1)
            heatmap(axes, grid, "SQNR of the output (dB)", norm=norm, rows="")
            _name(axes, sites)
            axes.set_title(literal(", ".join(filter(None, (name, apart(run, model))))))
    return page


def _name(axes: Axes, sites: list[str]) -> None:
    """Names of the sites, or their number where there are too many to name."""
    if len(sites) <= _SITES:
        axes.set_yticks(np.arange(len(sites)), [literal(site.rsplit(".", 1)[-1]) for site in sites],
                        fontsize=style.SMALL)  # fmt: skip
    axes.set_ylabel("linear module")


ENTRY = Entry(
    "noise",
    "Where the noise enters: output of every linear module",
    draw,
    "SQNR = 10 log10(sum y^2 / sum (y - y_hat)^2) in decibels over all tokens and channels: y the module's exact "
    "output, y_hat that with rounded weight and rounded input, each module alone and on its exact input; 6 dB is one "
    "bit. Dark is noisy. The first three models and the first two probes that cover most modules are drawn; `noise` "
    "has all, with the SQNR of inputs and weights and the share of values rounded to zero.",
    applies=lambda run: "noise" in run.tables and len(run["noise"]) > 0,
)
