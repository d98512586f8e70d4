"""What the strongest sink heads look like: the first tokens one by one, and the whole sequence in cells.

Both pages are of the run's first sequence, and so is every alpha on them: a mean over sequences would not be what the
picture shows.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from sinkscope.report import style
from sinkscope.report.axes import colour_map, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import fitted, literal, number, quoted
from sinkscope.tables.run_folder import Run

FIRST = 32  # positions that are drawn one by one, with their tokens
_LARGE, _SMALL = 3, 6  # maps on the page of tokens, and on that of cells
_TITLE = 215.0  # points that a title may take
_NAMED = 2  # sinks that a title names


@dataclass(frozen=True)
class Head:
    """A head with a recorded map, and its sinks in the run's first sequence.

    Attributes:
        layer: of the head.
        head: its number.
        alpha: alpha_0 in that sequence.
        sinks: alpha by position, the largest first.
    """

    layer: int
    head: int
    alpha: float
    sinks: "pd.Series[float]"


def draw_tokens(run: Run) -> Page:
    """The first tokens: a large map for each third of the depth, a row and a column per token."""
    page, chosen = Page(), strongest(run, _LARGE)
    if not chosen:
        return _none(page)
    grid = page.subplots(1, len(chosen), squeeze=False, sharey=True)[0]
    names = tokens(run)
    for axes, head in zip(grid, chosen, strict=True):
        weights = _weights(run, head, "window")[:FIRST, :FIRST]
        image = _map(axes, weights, len(weights))
        _mark(axes, head, len(weights), names)
        axes.set_xlabel("key position")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    labels = [f"{position} {quoted(names[position], 9)}" if position in names else str(position)
              for position in range(len(weights))]  # fmt: skip
    grid[0].set_yticks(range(len(weights)), [literal(label) for label in labels])
    grid[0].set_ylabel("query position and token")
    _key(page, image, list(grid))
    return page


def draw_cells(run: Run) -> Page:
    """The whole sequence: a map in cells for each sixth of the depth."""
    page, chosen = Page(), strongest(run, _SMALL)
    if not chosen:
        return _none(page)
    columns = min(len(chosen), 3)
    grid = page.subplots(-(-len(chosen) // columns), columns, squeeze=False)
    length, names = _length(run), tokens(run)
    for axes, head in zip(grid.flat, chosen, strict=False):
        image = _map(axes, _weights(run, head, "pooled"), length)
        _mark(axes, head, length, names)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("query position")
    for axes in grid[-1]:
        axes.set_xlabel("key position")
    _key(page, image, list(grid.flat))
    return page


def strongest(run: Run, count: int) -> list[Head]:
    """The recorded head with the largest alpha_0 in each of at most `count` stretches of the depth."""
    window = run["maps"][run["maps"]["kind"] == "window"]
    if window.empty:
        return []
    queries = min(run.info["settings"]["sink_window"], int(window["row"].max()) + 1)
    column = window[(window["column"] == 0) & (window["row"] < queries)]  # equation (1), the self term included
    alphas = column.groupby(["layer", "head"])["weight"].mean().rename("alpha").reset_index()
    alphas = alphas.sort_values("alpha", ascending=False, kind="stable")
    layers = run.info["model"]["layers"]
    best = alphas.groupby(alphas["layer"] * min(count, layers) // layers).head(1).sort_values("layer")
    return [
        Head(int(layer), int(head), float(alpha), _sinks(run, int(layer), int(head)))
        for layer, head, alpha in best[["layer", "head", "alpha"]].to_numpy()
    ]


def tokens(run: Run) -> dict[int, str]:
    """The tokens of the run's first sequence by position: its beginning, and those at sinks.

    Runs of an earlier version name those at sinks and at large entries alone.
    """
    known: dict[int, str] = {}
    for table in ("massive", "sink_norms", "sinks"):
        if table in run.tables:
            rows = run[table][run[table]["sequence"] == 0]
            known |= dict(zip(rows["position"].tolist(), rows["token"].tolist(), strict=True))
    if "map_tokens" in run.tables:
        known |= dict(zip(run["map_tokens"]["position"].tolist(), run["map_tokens"]["token"].tolist(), strict=True))
    return known


def _sinks(run: Run, layer: int, head: int) -> "pd.Series[float]":
    rows = run["sinks"]
    rows = rows[(rows["sequence"] == 0) & (rows["layer"] == layer) & (rows["head"] == head)]
    return rows.set_index("position")["alpha"].sort_values(ascending=False, kind="stable")


def _length(run: Run) -> int:
    """Tokens of the first sequence."""
    if "sink_norms" in run.tables:
        norms = run["sink_norms"]
        return int(norms.loc[norms["sequence"] == 0, "positions"].max())
    return int(run.info["data"]["tokens"])


def _weights(run: Run, head: Head, kind: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    maps = run["maps"]
    cells = maps[(maps["layer"] == head.layer) & (maps["head"] == head.head) & (maps["kind"] == kind)]
    size = int(cells["row"].max()) + 1
    weights = np.full((size, size), np.nan)
    weights[cells["row"], cells["column"]] = cells["weight"]
    return weights


def _map(axes: Axes, weights: np.ndarray[tuple[int, int], np.dtype[np.float64]], length: int) -> AxesImage:
    """A map of `length` positions, first queries above."""
    extent = (-0.5, length - 0.5, length - 0.5, -0.5)
    image = axes.imshow(
        weights, cmap=colour_map(style.SEQUENTIAL), norm=PowerNorm(0.4, 0, 1), aspect="auto", extent=extent
    )
    axes.grid(visible=False)
    return image


def _mark(axes: Axes, head: Head, length: int, names: dict[int, str]) -> None:
    """A mark above the column of every sink, and in the title the strongest with their tokens."""
    for position in head.sinks.index:
        if position < length:
            colour = style.TOKEN_ZERO if position == 0 else style.GREEN
            axes.plot(position, 1.012, "v", color=colour, markersize=7, clip_on=False,
                      transform=axes.get_xaxis_transform())  # fmt: skip
    shown = head.sinks.iloc[:_NAMED]
    known = [
        f"{number(float(alpha), 2)} at {position}{f' {quoted(names[position], 8)}' if position in names else ''}"
        for position, alpha in shown.items()
    ]
    words = f"alpha {', '.join(known)}" if known else f"no sink; alpha {number(head.alpha, 2)} at 0"
    title = literal(fitted(words, _TITLE, style.BODY))
    axes.set_title(f"layer {head.layer}, head {head.head}\n{title}", fontsize=style.BODY, pad=9)


def _key(page: Page, image: AxesImage, panels: list[Axes]) -> None:
    page.colorbar(image, ax=panels, label="attention weight", location="right", aspect=50, pad=0.015, fraction=0.03)


def _none(page: Page) -> Page:
    write_sentence(page.subplots(), "No attention map was recorded.")
    return page


_WHICH = (
    "First sequence of the run, and alpha of that sequence alone, equation (1). The depth is cut into at most {count} "
    "stretches; each shows its head with the largest alpha_0. A mark above a column is a sink: red at token 0, green "
    "at a later token. The colours are on a power scale, so that faint weights show."
)
ENTRIES = (
    Entry(
        "attention_maps",
        "Attention maps: the first tokens",
        draw_tokens,
        f"{_WHICH.format(count=_LARGE)} Shown are the first {FIRST} positions, a query per row and a key per column; a "
        "sink that is named but not marked stands further on, and is on the next page.",
    ),
    Entry(
        "attention_maps_whole",
        "Attention maps: the whole sequence",
        draw_cells,
        f"{_WHICH.format(count=_SMALL)} The sequence is cut into at most 64 x 64 cells, each the mean over sampled "
        "queries of the weight on the cell's keys.",
    ),
)
