"""Value norms by layer: token 0, early tokens and their ratio, before and after V-scale."""

import pandas as pd
from matplotlib.axes import Axes

from sinkscope.report.axes import log_axis, write_sentence
from sinkscope.report.comparison.runs import curves, depth_axis, page_with_key
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_KINDS = {"v": "raw", "v_scaled": "as attention sees them"}


def draw(run: Run) -> Page:
    """A line of panels for the raw values, and one for those after V-scale where a run has it."""
    page = page_with_key(run)
    kinds = list(_KINDS) if "compared_vscale" in run.tables else ["v"]
    grid = page.subplots(len(kinds), 3, squeeze=False)
    rows = run["compared_layers"]
    for row, site in enumerate(kinds):
        zero, early = rows[f"{site}_t0"], rows[f"{site}_early"]
        words = f"values {_KINDS[site]}"
        _panel(grid[row, 0], run, zero, f"Token 0: {words}", "|v|, mean over kv heads\n(model units)")
        _panel(grid[row, 1], run, early, f"Positions 1 to 15: {words}", "|v|, mean over kv heads\n(model units)")
        _panel(grid[row, 2], run, zero / early, "Token 0 over positions 1 to 15", "ratio")
    return page


def _panel(axes: Axes, run: Run, values: "pd.Series[float]", title: str, unit: str) -> None:
    axes.set_title(title)
    if not curves(axes, run, values, logarithmic=True):
        write_sentence(axes, "not defined", 120)
        return
    axes.set_ylabel(unit)
    log_axis(axes)
    depth_axis(axes, run)


ENTRY = Entry(
    "values",
    "Value norms by layer",
    draw,
    "Norm of the value vectors, mean over sequences and key/value heads, equation (4). A ratio below 1 means that "
    "token 0, however much attention it collects, adds little to the output. With V-scale the raw values are what "
    "the projection gives, and attention sees them scaled by phi, equation (14).",
)
