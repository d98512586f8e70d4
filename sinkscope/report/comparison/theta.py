"""How strongly V-scale's valve is set, layer by layer and head by head, in every run that has it."""

import numpy as np
from matplotlib.colors import Normalize

from sinkscope.intervals.draws import Array
from sinkscope.report import style
from sinkscope.report.axes import colour_map, count_axis, layer_axis
from sinkscope.report.comparison.runs import Side, members, sides_of
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page
from sinkscope.tables.run_folder import Run

_PER_LINE = 4
_LEAST = 1e-3  # reach of the colours where theta has not moved at all


def draw(run: Run) -> Page:
    """Heatmaps kv heads x layers of theta on one scale of colours; the mean where a run has several seeds."""
    page = Page()
    tables = {side: table for side in sides_of(run) if (table := _means(run, side)) is not None}
    moved = {side: table for side, table in tables.items() if np.nanmax(np.abs(table)) > 0}
    tables = moved or tables
    sides = list(tables)
    columns = min(len(sides), _PER_LINE)
    lines = -(-len(sides) // columns)
    grid = np.asarray(page.subplots(lines, columns, squeeze=False)).ravel()
    reach = max(float(np.nanmax(np.abs(table))) for table in tables.values()) or _LEAST
    room = 0.75 * (RIGHT - LEFT) * style.POINTS[0] / columns
    images = []
    for place, (axes, side) in enumerate(zip(grid, sides, strict=False)):
        table = tables[side]
        images.append(axes.imshow(table, cmap=colour_map(style.DIVERGING), norm=Normalize(-reach, reach), aspect="auto",
                                  origin="lower"))  # fmt: skip
        axes.grid(visible=False)
        axes.set_title(side.label(room, style.HEADING))
        layer_axis(axes, table.shape[1], "layer" if place + columns >= len(sides) else "", bins=5)
        count_axis(axes, table.shape[0], "kv head" if place % columns == 0 else "", "y", bins=6)
    for axes in grid[len(sides) :]:
        axes.set_axis_off()
    page.colorbar(images[0], ax=list(grid), label="theta", pad=0.02, aspect=30).minorticks_off()
    return page


def _means(run: Run, side: Side) -> Array | None:
    """Theta [kv heads, layers], the mean over seeds; None where the run has none."""
    rows = members(run, "compared_vscale", side)
    if not rows["theta"].notna().any():
        return None
    means = rows.pivot_table(index="kv_head", columns="layer", values="theta", aggfunc="mean", dropna=False)
    return means.reindex(columns=range(side.layers)).to_numpy(dtype=float)


ENTRY = Entry(
    "theta",
    "theta of V-scale",
    draw,
    "theta of equation (15), by layer and key/value head; 0 is the start, a larger theta damps small values more. Runs "
    "without V-scale have none; one where it is held at 0 has no panel beside others. "
    "Where a run has several seeds their mean is shown.",
    applies=lambda run: "compared_vscale" in run.tables and bool(run["compared_vscale"]["theta"].notna().any()),
)
