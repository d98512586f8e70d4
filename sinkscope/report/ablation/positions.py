"""Loss by position: under a sliding cache, and under everything else that was taken away."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from sinkscope.report import style
from sinkscope.report.ablation.sentences import ALONE, NONE, label
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_COLOURS = (style.VERMILION, style.BLUE, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)
_LINES = ("-", "--", ":", "-.")
_MOST = 12


def draw(run: Run) -> Page:
    """Panels of changes along the sequence, of caches and of the others."""
    page = Page()
    table = run["ablation_positions"]
    table = table[(table["what"] != NONE) & ~table["where"].str.contains(ALONE)]
    is_cache = table["what"].str.startswith("cache:")
    named = (("Sliding caches", table[is_cache]), ("Others", table[~is_cache]))
    parts = [(title, part) for title, part in named if len(part)]
    panels = page.subplots(1, len(parts), squeeze=False)[0]
    for axes, (title, part) in zip(panels, parts, strict=True):
        _panel(axes, part)
        axes.set_title(title)
        axes.set_xlabel("position of the predicted token")
    return page


def _panel(axes: Axes, table: pd.DataFrame) -> None:
    groups: Any = list(table.groupby(["what", "where"], sort=False))[:_MOST]
    for number, ((what, where), rows) in enumerate(groups):
        middle = (rows["start"] + rows["stop"] - 1) / 2
        colour, line = _COLOURS[number % len(_COLOURS)], _LINES[number // len(_COLOURS)]
        axes.plot(middle, rows["change"], line, color=colour, linewidth=1.4, label=label(what, where))
        low, high = (np.asarray(rows[f"change_{end}"], dtype=float) for end in ("low", "high"))
        axes.fill_between(middle, low, high, color=colour, alpha=0.12, linewidth=0)
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    axes.set_ylabel("change of the loss (nats per token)")
    axes.legend(
        fontsize=style.SMALL, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=1 if len(groups) < 4 else 2
    )


ENTRY = Entry(
    "positions",
    "Loss by position",
    draw,
    "Loss minus that of the untouched model in ranges of positions, with 95 % intervals over sequences, paired. A "
    "cache N+K keeps the first N tokens and the K most recent ones: up to N + K nothing is missing, and the line is "
    "at 0. Positions count as in the text (original) or from the start of the cache, as StreamingLLM counts them. The "
    "first twelve of each are drawn.",
    applies=lambda run: "ablation_positions" in run.tables and bool((run["ablation_positions"]["what"] != NONE).any()),
)
