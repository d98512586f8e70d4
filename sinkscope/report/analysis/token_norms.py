"""Token 0 against the early tokens at every site: where in a block a large norm appears and vanishes again."""

import numpy as np
from matplotlib.axes import Axes

from sinkscope.quantities.measured import zero_and_neighbours
from sinkscope.report import style
from sinkscope.report.analysis.sink_words import second
from sinkscope.report.axes import layer_axis, log_axis, marker, positive, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.sites import Site
from sinkscope.tables.applicability import reason
from sinkscope.tables.run_folder import Run


def draw(run: Run) -> Page:
    """A panel per site: norm of token 0, mean and largest of the early tokens, over layers."""
    page = Page()
    sites = [
        site for site in Site if site is not Site.FINAL_IN and (site is not Site.V_SCALED or "vscale" in run.tables)
    ]
    columns = -(-len(sites) // 3)
    grid = np.asarray(page.subplots(3, columns)).ravel()
    for axes, site in zip(grid, sites, strict=False):
        _panel(axes, run, site)
    for axes in grid[len(sites) :]:
        axes.set_axis_off()
    for axes in grid[::columns]:
        axes.set_ylabel("l2 norm\n(model units)")
    for axes in grid[len(sites) - columns : len(sites)]:
        axes.set_xlabel("layer")
    _second(grid[0], run)
    page.key(grid[0].get_legend_handles_labels()[0])
    return page


def _second(axes: Axes, run: Run) -> None:
    """Norm of the second sinks where they enter a layer that has sinks at them, mean over sequences."""
    if "sink_norms" not in run.tables or not axes.axison:
        return
    places = second(run)[["sequence", "position"]].drop_duplicates()
    rows = run["sink_norms"].merge(places, on=["sequence", "position"])
    if len(rows):
        norms = rows.groupby("layer")["norm"].mean().reindex(range(run.info["model"]["layers"]))
        axes.plot(norms.index, positive(norms), color=style.GREEN, marker="v", markersize=3, label="second sinks")
        log_axis(axes)


def _panel(axes: Axes, run: Run, site: Site) -> None:
    layers = run.info["model"]["layers"]
    norms = zero_and_neighbours(run["positions"], site)
    axes.set_title(site, family="DejaVu Sans Mono")
    if not (norms > 0).any(axis=None):
        write_sentence(axes, "not measured" if reason(run, site) is None else "not applicable", 120)
        return
    shape = marker(layers)
    axes.plot(norms.index, positive(norms["t0"]), color=style.TOKEN_ZERO, label="token 0", marker=shape, markersize=3)
    axes.plot(
        norms.index,
        positive(norms["early"]),
        color=style.EARLY_MEAN,
        label="positions 1 to 15, mean",
        marker=shape,
        markersize=3,
    )
    axes.plot(norms.index, positive(norms["early_max"]), color=style.EARLY_MAX, linestyle="--", linewidth=1.2,
              label="positions 1 to 15, largest")  # fmt: skip
    log_axis(axes)
    layer_axis(axes, layers, "", bins=5)


ENTRY = Entry(
    "token_norms",
    "Token 0 and early tokens, site by site",
    draw,
    "Norms of a token's vector, mean over sequences, equation (3); q, k, v and y with heads concatenated. Sites in "
    "the order of the forward pass: h_in enters the block, hn leaves its first norm, r_attn and r_mlp are the "
    "branch outputs, h_half the residual stream between them, hn2 leaves the second norm, down_in enters the down "
    "projection, h_out leaves the block. With fewer than 16 tokens, early are all but token 0. Second sinks: at h_in "
    "alone, in the layers that have sinks at them.",
)
