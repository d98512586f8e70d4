"""Perplexity by method, grouped by model, and the change of the loss with its interval."""

import numpy as np

from sinkscope.report.axes import positive, spread_axis
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.quantization.sentences import methods, models, plain_rows, worst_method
from sinkscope.report.quantization.shared import (
    MARKERS,
    change_axis,
    coloured,
    handles,
    intervals,
    method_axis,
    offsets,
)
from sinkscope.tables.run_folder import Run


def draw(run: Run) -> Page:
    """Perplexity above, changes of the loss below."""
    page = Page()
    upper, lower = page.subplots(2, 1, sharex=True)
    names, colours = methods(run), coloured(run)
    table = plain_rows(run).set_index("method")
    ticks = np.arange(len(names))
    for (model, colour), mark, offset in zip(colours.items(), MARKERS, offsets(len(colours), 0.6), strict=False):
        rows = table[table["model"] == model].loc[names]
        perplexity = positive(rows["perplexity"].where(np.isfinite(rows["loss"])))
        upper.plot(ticks + offset, perplexity, mark, color=colour, markersize=6)
        upper.axhline(perplexity[0], color=colour, linewidth=0.9, linestyle=":")
        intervals(lower, ticks[1:] + offset, rows.iloc[1:], colour, mark)
    change_axis(lower, plain_rows(run)["delta"])
    upper.margins(y=0.15)
    spread_axis(upper)
    upper.set_ylabel("perplexity per token")
    worst = worst_method(run)
    upper.set_title(f"{worst} costs most" if worst else "Perplexity of each method")
    upper.tick_params(labelbottom=False)
    lower.set_title("Change of the loss against the unquantized model, with 95 % interval")
    method_axis(lower, names)
    lower.set_xlabel("method")
    upper.grid(visible=False, axis="x")
    if len(models(run)) > 1:
        page.key(handles(run))
    return page


ENTRY = Entry(
    "damage",
    "Perplexity by method",
    draw,
    "Above: exponential of the mean loss, dotted where unquantized; a missing mark is a loss that is not finite. "
    "Below: loss minus that of the same model unquantized, on the same windows; intervals are over sequences, paired, "
    "so that texts that are hard for both cancel. Perplexities compare between models only if these read the same "
    "windows (page 1 says whether they did). The first six models are drawn.",
)
