"""What the strongest sink heads look like: attention maps of a few layers spread over the depth."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage

from sinkscope.report import style
from sinkscope.report.axes import colour_map, count_axis, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run

_SHOWN = 6


def draw(run: Run) -> Page:
    """Upper row the first tokens, lower row the whole sequence in cells; a column per chosen layer."""
    page = Page()
    chosen = _chosen(run)
    if not chosen:
        write_sentence(page.subplots(), "No attention map was recorded.")
        return page
    grid = page.subplots(2, max(len(chosen), 2), squeeze=False)
    for column, (layer, head, alpha) in enumerate(chosen):
        maps = run["maps"][(run["maps"]["layer"] == layer) & (run["maps"]["head"] == head)]
        _map(grid[0, column], maps[maps["kind"] == "window"], "key position", "query position")
        image = _map(grid[1, column], maps[maps["kind"] == "pooled"], "key cell", "query cell")
        grid[0, column].set_title(f"layer {layer}, head {head}\nalpha at 0: {number(alpha, 2)}")
        if column:
            for axes in grid[:, column]:
                axes.set_ylabel("")
    for axes in grid[:, len(chosen) :].ravel():
        axes.set_axis_off()
    page.colorbar(image, ax=grid, label="attention weight", location="bottom", aspect=60, shrink=0.6, pad=0.02)
    return page


def _chosen(run: Run) -> list[tuple[int, int, float]]:
    """Layer, head and alpha_0 of the strongest recorded head in each of at most six stretches of the depth."""
    drawn = run["maps"][["layer", "head"]].drop_duplicates()
    first = run["heads"][run["heads"]["position"] == 0]
    known = drawn.merge(first, on=["layer", "head"]).sort_values("alpha", ascending=False, kind="stable")
    layers = run.info["model"]["layers"]
    stretch = known["layer"] * min(_SHOWN, layers) // layers
    best = known.groupby(stretch).head(1).sort_values("layer")
    return list(zip(best["layer"].tolist(), best["head"].tolist(), best["alpha"].tolist(), strict=True))


def _map(axes: Axes, cells: pd.DataFrame, keys: str, queries: str) -> AxesImage:
    size = int(cells["row"].max()) + 1
    weights = np.full((size, size), np.nan)
    weights[cells["row"], cells["column"]] = cells["weight"]
    norm = PowerNorm(0.4, 0, 1)
    image = axes.imshow(weights, cmap=colour_map(style.SEQUENTIAL), norm=norm)
    axes.grid(visible=False)
    count_axis(axes, size, keys, "x", bins=4)
    count_axis(axes, size, queries, "y", bins=4)
    axes.invert_yaxis()
    return image


ENTRY = Entry(
    "attention_maps",
    "Attention maps of the strongest sink heads",
    draw,
    "First sequence of the run. The depth is cut into at most six stretches; each shows its head with the largest "
    "alpha_0. Upper row: weights of the first tokens (at most 128). Lower row: the whole sequence in at most 64 x "
    "64 cells, each the mean over sampled queries of the weight on the cell's keys. The colour scale is a power "
    "scale, so that faint weights show. A bright first column is a sink at token 0, any other bright column a sink "
    "elsewhere.",
)
