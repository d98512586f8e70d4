"""Where needles are found: a map of depth by context length for every kind of needle."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.image import AxesImage

from sinkscope.report import style
from sinkscope.report.axes import colour_bar, colour_map
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

TITLES = {
    "single_2": "single_2: one number",
    "single_3": "single_3: one UUID",
    "multikey_1": "multikey_1: one number of four",
}
_MOST_WRITTEN = 8  # lengths up to which every cell says its number
_DARK = 0.6  # shares below are written in white


def draw(run: Run) -> Page:
    """A heatmap per kind of needle, and below it the share over all depths with its interval."""
    page = Page()
    variants = list(dict.fromkeys(run["needle_scores"]["variant"]))
    lengths = sorted(run["needle_scores"]["length"].unique())
    depths = sorted(run["needles"]["depth"].unique())
    panels = page.subplots(2, len(variants), squeeze=False, height_ratios=(2.2, 1), sharey="row")
    image = None
    for column, variant in enumerate(variants):
        needles = run["needles"][run["needles"]["variant"] == variant]
        image = _map(panels[0, column], needles, lengths, depths)
        panels[0, column].set_title(TITLES.get(variant, variant))
        scores = run["needle_scores"][run["needle_scores"]["variant"] == variant]
        _scores(panels[1, column], scores.set_index("length").reindex(lengths), lengths)
    panels[0, 0].set_ylabel("depth in the haystack\n(0: its start, 1: its end)")
    panels[1, 0].set_ylabel("share found,\nall depths")
    if image is not None:
        colour_bar(image, panels[0, -1], "share found", pad=0.03, aspect=20)
    return page


def _map(axes: Axes, needles: pd.DataFrame, lengths: list[int], depths: list[float]) -> AxesImage:
    share = needles.pivot_table(index="depth", columns="length", values="found", aggfunc="mean")
    grid = share.reindex(index=depths, columns=lengths).to_numpy(dtype=float)
    image = axes.imshow(grid, cmap=colour_map(style.SEQUENTIAL), norm=Normalize(0, 1), aspect="auto", origin="upper")
    axes.grid(visible=False)
    axes.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
    axes.set_yticks(range(len(depths)), [f"{depth:.2g}" for depth in depths])
    _thin(axes, len(lengths))
    if len(lengths) <= _MOST_WRITTEN:
        for row, column in np.ndindex(*grid.shape):
            if np.isfinite(grid[row, column]):
                colour = "white" if grid[row, column] < _DARK else "black"
                axes.text(column, row, f"{100 * grid[row, column]:.0f}", ha="center", va="center", color=colour,
                          fontsize=style.SMALL)  # fmt: skip
    return image


def _scores(axes: Axes, scores: pd.DataFrame, lengths: list[int]) -> None:
    places = np.arange(len(lengths))
    low, high = scores["score"] - scores["low"], scores["high"] - scores["score"]
    axes.errorbar(places, scores["score"], yerr=[low.clip(lower=0), high.clip(lower=0)], color=style.BLUE, marker="o",
                  capsize=3)  # fmt: skip
    axes.set_ylim(-0.05, 1.05)
    axes.set_xlim(-0.5, len(lengths) - 0.5)
    axes.set_xticks(places, [f"{length:,}" for length in lengths])
    _thin(axes, len(lengths))
    axes.set_xlabel("context length (tokens)")


def _thin(axes: Axes, count: int) -> None:
    """Hides tick labels that would run into each other."""
    step = -(-count // 6)
    for number, label in enumerate(axes.get_xticklabels()):
        label.set_visible(number % step == 0)


ENTRY = Entry(
    "needles",
    "Needles in a haystack by depth and context length",
    draw,
    "Share of seeds whose value the model writes, greedily, after the question; numbers are percentages. The context "
    "length counts prompt and answer. Below: over all depths and seeds, with Wilson's 95 % interval. After RULER's "
    "niah_single_2, niah_single_3 and niah_multikey_1, with a wording, keys and haystack of our own: compare between "
    "models, not digit by digit with RULER.",
    applies=lambda run: "needles" in run.tables and bool(run["needles"]["found"].any()),
)
