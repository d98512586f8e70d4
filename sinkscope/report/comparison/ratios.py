"""Every ratio that has an interval, on one page: a forest plot against the margin within which things are the same."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from sinkscope.quantities.quantity import Quantity
from sinkscope.quantities.rows import compared, quantity
from sinkscope.report import style
from sinkscope.report.axes import write_sentence
from sinkscope.report.comparison.runs import Side, page_with_key, rows_of, sides_of
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import wrapped
from sinkscope.tables.run_folder import Run

_TITLE_POINTS = 128.0
_REACH = 1.5  # the axis covers at least 1/1.5 to 1.5
_FARTHEST = 1000.0  # and at most three decades either way
_TICKS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)

_FINE = (0.5, 0.6, 0.8, 1, 1.25, 1.6, 2)
_FINE_REACH = 2.2


def draw(run: Run) -> Page:
    """Two panels of ratios with their intervals, a row per metric and a mark per run."""
    page = page_with_key(run)
    left, right = page.subplots(1, 2)
    rows = rows_of(run)
    metrics = [
        metric
        for metric in compared()
        if metric.over_layers is not None and metric.judged and (run.backward or not metric.backward)
    ]
    half = -(-len(metrics) // 2)
    others = sides_of(run)[1:]
    reach = _reach(rows, metrics, others)
    for axes, part in ((left, metrics[:half]), (right, metrics[half:])):
        _panel(axes, run, part, others, rows, reach)
    if not any(np.isfinite(rows[metric.name, side.name]["ratio"]) for metric in metrics for side in others):
        for axes in (left, right):
            axes.clear()
            write_sentence(axes, "No ratio could be formed.")
    return page


def _reach(rows: dict[tuple[str, str], dict[str, float]], metrics: list[Quantity], others: list[Side]) -> float:
    """How far the axis reaches either way: to the farthest end of an interval."""
    ends = [
        abs(float(np.log(rows[metric.name, side.name][end])))
        for metric in metrics
        for side in others
        for end in ("ratio_low", "ratio", "ratio_high")
        if 0 < rows[metric.name, side.name][end] < np.inf
    ]
    return float(np.clip(np.exp(1.08 * max(ends, default=0.0)), _REACH, _FARTHEST))


def _panel(
    axes: Axes,
    run: Run,
    metrics: list[Quantity],
    others: list[Side],
    rows: dict[tuple[str, str], dict[str, float]],
    reach: float,
) -> None:
    low, high = 1 / reach, reach
    for place, metric in enumerate(metrics):
        margin = metric.margin or run.info["settings"]["margin"]
        axes.fill_betweenx([place - 0.47, place + 0.47], 1 / margin, margin, color=style.PALE, linewidth=0)
        for index, side in enumerate(others):
            row = rows[metric.name, side.name]
            height = place + 0.78 * ((index + 0.5) / len(others) - 0.5)
            if np.isfinite(row["ratio_low"]):
                ends = np.clip([row["ratio_low"], row["ratio_high"]], low, high)
                axes.plot(ends, [height, height], color=side.colour, linewidth=1.6, solid_capstyle="butt")
            if np.isfinite(row["ratio"]) and row["ratio"] > 0:
                axes.plot(np.clip(row["ratio"], low, high), height, marker=side.marker, color=side.colour,
                          markersize=4.5, markeredgecolor="white", markeredgewidth=0.4)  # fmt: skip
    axes.axvline(1, color=style.BLACK, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.03, high * 1.03)
    ticks = [tick for tick in (_FINE if reach < _FINE_REACH else _TICKS) if low <= tick <= high]
    axes.xaxis.set_major_locator(FixedLocator(_thinned(ticks)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(len(metrics) - 0.5, -0.5)
    titles = ["\n".join(wrapped(metric.title, _TITLE_POINTS, style.SMALL)) for metric in metrics]
    axes.set_yticks(range(len(metrics)), titles)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("ratio to the reference")


def _thinned(ticks: list[float]) -> list[float]:
    """At most about seven ticks: powers of ten alone where the axis is long."""
    return ticks if len(ticks) <= 7 else [tick for tick in ticks if f"{tick:e}".startswith("1.")]


ENTRY = Entry(
    "ratios",
    "Ratios to the reference, with 95 % intervals",
    draw,
    "One mark per run; bars are the intervals of comparison.parquet, and where none is seen it is narrower than the "
    "mark or cannot be had. The pale band is the margin within which a ratio counts as the same "
    f"({quantity('perplexity').margin} either way for perplexity). Where every sequence begins with the same token, "
    "its norms do not depend on the text, and from one training each they have no interval.",
)
