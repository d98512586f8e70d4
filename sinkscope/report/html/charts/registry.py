"""Which figure has a chart beside it. A new chart is a module, and a row here."""

from collections.abc import Callable, Mapping

from sinkscope.report.html.charts import gradient_ratio, large_entries, norms, sink_heads
from sinkscope.report.html.charts.chart import Chart
from sinkscope.tables.run_folder import Run

CHARTS: Mapping[tuple[str, str], Callable[[Run], Chart]] = {  # by kind of run, and name of the figure
    ("analysis", "sink_heatmap"): sink_heads.chart,
    ("analysis", "token_norms"): norms.chart,
    ("analysis", "massive_activations"): large_entries.chart,
    ("analysis", "gradient_sink"): gradient_ratio.chart,
}


def chart_of(run: Run, figure: str) -> Chart | None:
    """The chart of a figure of this run, where it has one."""
    make = CHARTS.get((run.info["kind"], figure))
    return None if make is None else make(run)
