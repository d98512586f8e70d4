"""Reshaping scatters as small multiples: what a branch does to gradients against the norm of its input, run by run."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.analysis.reshaping import GROUPS, falling_line
from sinkscope.report.axes import decades, positive
from sinkscope.report.comparison.runs import members, sides_of
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page
from sinkscope.tables.run_folder import Run

_LABELLED = 4  # columns below which a label with its unit has room; the caption has the unit too
_RATIOS = ("bloat", "change", "compress")
_TITLES = {"attn": "attention", "mlp": "MLP"}


def _draw(branch: str) -> Callable[[Run], Page]:
    def draw(run: Run) -> Page:
        sides = sides_of(run)
        page = Page()
        grid: Any = page.subplots(len(_RATIOS), len(sides), sharex=True, sharey="row", squeeze=False)
        room = 0.8 * (RIGHT - LEFT - 0.06) * style.POINTS[0] / len(sides)
        for column, side in enumerate(sides):
            rows = members(run, "compared_branches", side)
            rows = rows[rows["branch"] == branch]
            grid[0, column].set_title(side.label(room, style.HEADING), color=side.colour)
            for row, ratio in enumerate(_RATIOS):
                axes = grid[row, column]
                axes.axhline(0, color=style.BLACK, linewidth=0.8)
                if rows.empty:
                    axes.text(0.5, 0.6, "not applicable", ha="center", transform=axes.transAxes, color=style.GREY)
                for first, last, colour, shape in GROUPS:
                    group = rows[rows["position"].between(first, last)]
                    x, y = np.log10(positive(group["input_norm"])), np.log10(positive(group[ratio]))
                    axes.plot(x, y, linestyle="", marker=shape, color=colour, alpha=0.7, markersize=3,
                              markeredgewidth=0)  # fmt: skip
                if ratio == "compress":
                    falling_line(axes, rows)
        for row, ratio in enumerate(_RATIOS):
            grid[row, 0].set_ylabel(ratio)
            decades(grid[row, 0], "y")
        crowded = len(sides) > _LABELLED
        for column in range(len(sides)):
            grid[-1, column].set_xlabel("|input|" if crowded else "|input| (model units)")
        decades(grid[-1, 0], "x")
        last = int(run["compared_branches"]["position"].max())
        handles = [
            Line2D(
                [], [], linestyle="", marker=shape, color=colour, label=f"{a}" if a == b else f"{a} to {min(b, last)}"
            )
            for a, b, colour, shape in reversed(GROUPS)
            if a <= last
        ]
        handles.append(Line2D([], [], color=style.BLACK, linestyle="--", linewidth=1.2, label="slope -1"))
        page.key(handles, "token position")
        return page

    return draw


def _applies(branch: str) -> Callable[[Run], bool]:
    def applies(run: Run) -> bool:
        rows = run["compared_branches"]
        return bool((rows.loc[rows["branch"] == branch, list(_RATIOS)] > 0).any(axis=None))

    return applies


ENTRIES = tuple(
    Entry(
        f"reshaping_{branch}",
        f"Reshaping of gradients by the {_TITLES[branch]} branch",
        _draw(branch),
        "One dot per layer and token (and seed), equation (8), from gradients summed over sequences; all runs on the "
        "same axes. Bloat: gradient at the norm's output over gradient at the branch's output. Change: gradient "
        "entering over leaving the branch along the residual stream. Compress: gradient that comes back through the "
        "norm over gradient at its output; it falls with slope -1 where the norm scales gradients with one over the "
        "size of its input, as along the dashed line, drawn through the middle of the dots.",
        needs_backward=True,
        applies=_applies(branch),
    )
    for branch in _TITLES
)
