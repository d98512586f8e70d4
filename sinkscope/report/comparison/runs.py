"""How compared runs are told apart: a number, a colour, a marker and a line style each, the same on every page.

Names can be long and alike, so each run carries its number wherever it is named. Readers tell eight styles apart
with any common colour vision and on a grey printer; the figures show the first eight runs, the tables hold all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator

from sinkscope.report import style
from sinkscope.report.axes import count_axis, marker, positive
from sinkscope.report.page import LEFT, RIGHT, Page
from sinkscope.report.text import fitted, literal, printable
from sinkscope.tables.run_folder import Run

_Dashes = Literal["-"] | tuple[int, tuple[float, ...]]
_STYLES: tuple[tuple[str, str, _Dashes], ...] = (
    (style.BLACK, "o", "-"),
    (style.VERMILION, "s", (0, (6.0, 1.5))),
    (style.BLUE, "^", (0, (1.5, 1.0))),
    (style.ORANGE, "D", (0, (6.0, 1.5, 1.5, 1.5))),
    (style.GREEN, "v", (0, (3.0, 1.0))),
    (style.PURPLE, "P", (0, (6.0, 1.5, 1.5, 1.5, 1.5, 1.5))),
    (style.SKY, "X", "-"),
    (style.GREY, "*", (0, (1.0, 2.0))),
)
SHOWN = len(_STYLES)
_NAMED = 3  # differences between runs that are named on a page
_PER_LINE = 4
_LINE = 0.026  # of the page's height
_KEY_TOP = 0.911
_SWATCH = 52.0  # points that a key's line and the gaps around it take


@dataclass(frozen=True)
class Side:
    """One of the compared runs, as the figures show it.

    Attributes:
        name: in the tables.
        number: from 1.
        seeds: how many runs share the name.
        layers: of the model.
        colour: of lines and markers.
        marker: of points.
        dashes: line style.
    """

    name: str
    number: int
    seeds: int
    layers: int
    colour: str
    marker: str
    dashes: _Dashes

    def label(self, points: float, size: float = style.SMALL, weight: str = "normal") -> str:
        """Number and name, no wider than `points`."""
        return literal(fitted(f"{self.number} {printable(self.name)}", points, size, weight))


def styles() -> list[tuple[str, str]]:
    """Colours and markers, in the order in which runs get them."""
    return [(colour, shape) for colour, shape, _ in _STYLES]


def sides_of(run: Run) -> list[Side]:
    """The compared runs that figures show, the reference first."""
    return [
        Side(entry["name"], number, entry["seeds"], entry["layers"], *marks)
        for number, (entry, marks) in enumerate(zip(run.info["runs"], _STYLES, strict=False), start=1)
    ]


def page_with_key(run: Run, **place: float) -> Page:
    """A page whose key of runs stands in one or two lines between subtitle and panels."""
    sides = sides_of(run)
    columns = min(len(sides), _PER_LINE)
    page = Page(top=_KEY_TOP - 0.012 - _LINE * -(-len(sides) // columns), **place)
    room = (RIGHT - LEFT) * style.POINTS[0] / columns - _SWATCH
    handles = [
        Line2D([], [], color=side.colour, marker=side.marker, linestyle=side.dashes, label=side.label(room))
        for side in sides
    ]
    page.keys.append((handles, ""))
    legend = page.legend(
        handles=_by_column(handles, columns),
        loc="upper left",
        bbox_to_anchor=(LEFT, _KEY_TOP),
        ncols=columns,
        handlelength=3.2,
        columnspacing=1.2,
        labelspacing=0.4,
        borderaxespad=0,
        borderpad=0,
    )
    legend.set_in_layout(False)
    return page


def _by_column(handles: Sequence[Line2D], columns: int) -> list[Line2D]:
    """A legend fills its columns from top to bottom; this order makes its lines read from left to right."""
    return [handle for column in range(columns) for handle in handles[column::columns]]


def depth_axis(axes: Axes, run: Run, label: bool = True) -> None:
    """The horizontal axis of curves over layers: layer numbers, or depth where the numbers of layers differ."""
    if run.info["layers_differ"]:
        axes.set_xlim(-0.03, 1.03)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]))
        axes.set_xlabel("relative depth" if label else "")
    else:
        layers = run.info["runs"][0]["layers"]
        count_axis(axes, layers, "layer" if label else "", bins=5)
        if layers == 1:
            axes.xaxis.set_major_locator(FixedLocator([0]))


def curves(axes: Axes, run: Run, values: "pd.Series[float]", *, logarithmic: bool = False) -> bool:
    """Draws a value by layer for every shown run: the mean over seeds, and a band from smallest to largest seed.

    Args:
        axes: where.
        run: the comparison.
        values: a column of `compared_layers`, or something computed from its columns.
        logarithmic: leave out what a logarithm cannot take.

    Returns:
        Whether there was anything to draw.
    """
    rows = run["compared_layers"]
    rows = rows.assign(drawn=positive(values) if logarithmic else values.astype(float))
    place = "depth" if run.info["layers_differ"] else "layer"
    for side in sides_of(run):
        each = rows[rows["run"] == side.name].groupby(place)["drawn"]
        mean = each.mean()
        if side.seeds > 1:
            axes.fill_between(mean.index, each.min(), each.max(), color=side.colour, alpha=0.15, linewidth=0)
        shape = side.marker if marker(side.layers) else ""
        axes.plot(mean.index, mean, color=side.colour, linestyle=side.dashes, linewidth=1.4, marker=shape,
                  markersize=3.5)  # fmt: skip
    return bool(np.isfinite(rows["drawn"]).any())


def members(run: Run, table: str, side: Side) -> pd.DataFrame:
    """The rows of one run, all its seeds."""
    rows: pd.DataFrame = run[table][run[table]["run"] == side.name]
    return rows


def named(run: Run) -> str:
    """The names of the compared runs in a line, with the number of seeds where there are several."""
    parts = [
        printable(entry["name"], 40, keep_end=True) + (f" ({entry['seeds']} seeds)" if entry["seeds"] > 1 else "")
        for entry in run.info["runs"]
    ]
    return f"{parts[0]} (reference) against {', '.join(parts[1:])}"


def subtitle(run: Run) -> str:
    """The line below every page's title; where runs were not measured alike it says so first."""
    line = named(run)
    if len(run.info["runs"]) > SHOWN:
        line = f"the first {SHOWN} of {len(run.info['runs'])} runs: {line}"
    if run.info["mismatches"]:
        line = f"NOT MEASURED ALIKE, differing in {mismatch(run)}. {line}"
    return line


def mismatch(run: Run) -> str:
    """What differs between the runs, in words."""
    named, more = run.info["mismatches"][:_NAMED], len(run.info["mismatches"]) - _NAMED
    return printable("; ".join(named)) + (f"; and {more} more, in run.json" if more > 0 else "")


def rows_of(run: Run) -> dict[tuple[str, str], dict[str, Any]]:
    """The rows of the table `comparison` by metric and run."""
    rows: Any = run["comparison"].to_dict("records")
    return {(row["metric"], row["run"]): row for row in rows}
