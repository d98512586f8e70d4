"""Do sinks and gradient sinks stay? Headline quantities, measured again under each intervention."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sinkscope.report import style
from sinkscope.report.ablation.sentences import NONE, label, together
from sinkscope.report.ablation.shared import CONTROL, OWN, named_rows
from sinkscope.report.axes import positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_SHOWN = (
    ("sink_rate_mean", "Sink rate (1)", False),
    ("gradient_sink_median", "Gradient-sink ratio (6)", True),
    ("abs_max", "Largest |x| (5)", True),
    ("value_drain", "Value drain (4)", False),
)
_MOST = 24
_DECADES = 30.0  # largest over smallest, from which a scale is logarithmic


def draw(run: Run) -> Page:
    """A column per quantity, a row per intervention; a line where the untouched model is."""
    page = Page()
    table = run["ablation_quantities"]
    shown = [entry for entry in _SHOWN if (table["quantity"] == entry[0]).any()]
    rows = together(run)[:_MOST]
    names = list(zip(rows["what"], rows["where"], strict=True))
    panels = page.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (quantity, title, log) in zip(panels, shown, strict=True):
        values = table[table["quantity"] == quantity].set_index(["what", "where"])
        _panel(axes, values.reindex(names), float(values["value"].get((NONE, ""), np.nan)), log=log)
        axes.set_title(title)
        axes.set_xlabel(title.rpartition(" (")[0])
    named_rows(panels[0], [label(*name) for name in names])
    panels[0].set_ylabel("intervention", fontsize=style.SMALL)
    page.key(
        [
            Line2D([], [], color=OWN, marker="o", linestyle="", label="intervention"),
            Line2D([], [], color=CONTROL, marker="s", linestyle="", label="its first control"),
            Line2D([], [], color=style.GREY, linestyle=":", label="untouched"),
        ]
    )
    return page


def _panel(axes: Axes, values: "object", before: float, *, log: bool) -> None:
    for column, mark, colour, shift in (("value", "o", OWN, -0.15), ("control", "s", CONTROL, 0.15)):
        of_column = values[column]  # type: ignore[index]
        axes.plot(positive(of_column) if log else of_column, np.arange(len(of_column)) + shift, mark, color=colour,
                  markersize=5)  # fmt: skip
    if np.isfinite(before):
        axes.axvline(before, color=style.GREY, linestyle=":", linewidth=1.3)
    shown = values[["value", "control"]].to_numpy(dtype=float)  # type: ignore[index]
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if log and len(shown) and shown.max() > _DECADES * shown.min():
        axes.set_xscale("log")
        return
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))


ENTRY = Entry(
    "quantities",
    "Does the sink stay? Measured again",
    draw,
    "Measured on the first sequences (settings.measured in run.json), so without intervals; equation numbers are "
    "those of docs/definitions.md. Sink rate: share of heads that are sinks at token 0, mean over layers. "
    "Gradient-sink ratio: gradient norm at token 0 over that of early tokens, median over layers. Largest |x| of the "
    "residual stream. Value drain: norm of the value at token 0 over that of early tokens. Attention that was taken "
    "away counts as 0. All others are in `ablation_quantities`.",
    applies=lambda run: (
        "ablation_quantities" in run.tables
        and bool(run["ablation_quantities"]["quantity"].isin([name for name, *_ in _SHOWN]).any())
        and len(together(run)) > 0
    ),
)
