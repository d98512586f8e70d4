"""Change of the loss along the window: of caches, whose damage may grow with distance, and of everything else."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sinkscope.names import NONE
from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.quantization.along import POSITIONS, rounds_cache
from sinkscope.report.quantization.sentences import apart, models
from sinkscope.report.quantization.shared import SIDE_BY_SIDE, change_axis
from sinkscope.report.text import literal
from sinkscope.tables.run_folder import Run
from sinkscope.tables.unmitigated import unmitigated

_COLOURS = (style.VERMILION, style.BLUE, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)
_MOST = len(_COLOURS)
_FEWEST = 64  # targets of a range that is drawn: the mean of a few tokens says little, and its interval hides the rest


def draw(run: Run) -> Page:
    """A column per model; caches above, other methods below."""
    page = Page()
    table = unmitigated(run[POSITIONS])
    table = table[table["method"] != NONE]
    enough = table[table["targets"] >= _FEWEST]
    table = enough if len(set(enough["start"])) > 1 else table
    labels = models(run)[:SIDE_BY_SIDE]
    is_cache = table["method"].map(rounds_cache).astype(bool)
    kinds = [(title, part) for title, part in (("Caches", table[is_cache]), ("Other methods", table[~is_cache]))
             if len(part)]  # fmt: skip
    panels = page.subplots(len(kinds), len(labels), squeeze=False, sharey="row")
    for row, (title, part) in zip(panels, kinds, strict=True):
        names = list(dict.fromkeys(part["method"]))[:_MOST]
        shown = part[part["method"].isin(names) & part["model"].isin(labels)]
        for axes, model in zip(row, labels, strict=True):
            _panel(axes, shown[shown["model"] == model], names)
            axes.set_title(literal(", ".join(filter(None, (title, apart(run, model))))))
        change_axis(row[0], shown["delta"])  # shared, so only when all of the row is drawn
        for axes in row[1:]:
            axes.axhline(0, color=style.GREY, linewidth=0.8)
        row[0].legend(fontsize=style.SMALL, loc="best", ncols=1 if len(names) < 4 else 2)
    for axes in panels[-1]:
        axes.set_xlabel("position of the predicted token")
    return page


def _panel(axes: Axes, table: pd.DataFrame, names: list[str]) -> None:
    rows: Any
    for name, colour in zip(names, _COLOURS, strict=False):
        rows = table[table["method"] == name].sort_values("start")
        middle = np.sqrt(rows["start"] * (rows["stop"] - 1))
        axes.plot(middle, rows["delta"], "o-", color=colour, linewidth=1.4, markersize=3.5, label=literal(name))
        low, high = (np.asarray(rows[f"delta_{end}"], dtype=float) for end in ("low", "high"))
        axes.fill_between(middle, low, high, color=colour, alpha=0.12, linewidth=0)
    edges = sorted({*table["start"].tolist(), *(table["stop"] - 1).tolist()})
    if edges:
        axes.set_xscale("log", base=2)
        axes.set_xlim(0.8 * edges[0], 1.25 * edges[-1])
        ticks = sorted(set(table["start"].tolist()))
        axes.set_xticks(ticks[-1::-2][::-1], [f"{tick:g}" for tick in ticks[-1::-2][::-1]])
        axes.minorticks_off()


ENTRY = Entry(
    "positions",
    "Loss by position",
    draw,
    "Loss minus that of the unquantized model on the same tokens, in ranges of positions, each the second half of what "
    "is before its end; 95 % intervals, paired bootstrap over sequences. Those of fewer than 64 "
    "tokens are left out where two others are left. A cache rounds what a query looks back at, so that its damage can "
    "grow along the window. The first six methods of each kind and the first three models are drawn; "
    "`quantization_positions` has all.",
    applies=lambda run: POSITIONS in run.tables and bool((run[POSITIONS]["method"] != NONE).any()),
)
