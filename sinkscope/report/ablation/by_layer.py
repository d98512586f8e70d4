"""Damage by layer: an intervention in one layer alone, against controls in the same layer."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sinkscope.report.ablation.sentences import ALONE, steps
from sinkscope.report.ablation.shared import CONTROL, OWN, change_scale
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import literal
from sinkscope.tables.run_folder import Run

_LAYER = rf"layer (\d+) {ALONE}"
_MOST = 6


def draw(run: Run) -> Page:
    """A panel per intervention."""
    page = Page()
    rows = alone(run)
    names = list(dict.fromkeys(rows["what"]))[:_MOST]
    columns = min(len(names), 3)
    panels = page.subplots(-(-len(names) // columns), columns, squeeze=False).flatten()
    for axes, name in zip(panels, names, strict=False):
        _panel(axes, rows[rows["what"] == name])
        axes.set_title(literal(str(name)))
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    page.key(
        [
            Line2D([], [], color=OWN, marker="o", label="intervention"),
            Line2D([], [], color=CONTROL, marker="s", label="as much taken away at random"),
        ]
    )
    return page


def alone(run: Run) -> pd.DataFrame:
    """The interventions in one layer alone, with a column `layer`."""
    rows = steps(run)
    rows = rows[rows["where"].str.contains(ALONE)].copy()
    rows["layer"] = rows["where"].str.extract(_LAYER, expand=False).astype(int)
    return rows.sort_values(["what", "layer"], kind="stable")


def _panel(axes: Axes, rows: pd.DataFrame) -> None:
    for column, colour, mark in (("change", OWN, "o"), ("control_change", CONTROL, "s")):
        value, low, high = (rows[f"{column}{end}"].to_numpy(dtype=float) for end in ("", "_low", "_high"))
        ends = np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))
        axes.errorbar(rows["layer"], value, yerr=ends, color=colour, marker=mark, markersize=4, capsize=2, linewidth=1)
    change_scale(axes, [*rows["change"], *rows["control_change"]], vertical=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("layer")


ENTRY = Entry(
    "by_layer",
    "Damage by layer: each layer alone",
    draw,
    "The same intervention in one layer at a time, and as much taken away at random in that layer; loss minus that of "
    "the untouched model, with 95 % intervals over sequences, paired. The first six interventions are drawn.",
    applies=lambda run: len(alone(run)) > 0,
)
