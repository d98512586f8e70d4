"""Sinks and norms by layer: the four panels of arXiv:2603.17771, with token 0 above and the early tokens below."""

from matplotlib.axes import Axes

from sinkscope.report.axes import log_axis, write_sentence
from sinkscope.report.comparison.runs import curves, depth_axis, page_with_key
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_SITES = {"h_out": "Residual stream", "r_mlp": "MLP output", "r_attn": "Attention output"}


def draw(run: Run) -> Page:
    """Sink rate and gradient-sink ratio; residual, MLP and attention output norms at token 0 and at early tokens."""
    page = page_with_key(run)
    grid = page.subplots(2, 4)
    rows = run["compared_layers"]
    curves(grid[0, 0], run, rows["sink_rate"])
    grid[0, 0].set_ylim(-0.03, 1.03)
    grid[0, 0].set_title("Sink rate")
    grid[0, 0].set_ylabel("share of heads")
    depth_axis(grid[0, 0], run)
    below = grid[1, 0]
    below.set_title("Gradient-sink ratio")
    if curves(below, run, rows["gradient_sink_ratio"], logarithmic=True):
        below.set_ylabel("R_GS(0)")
        log_axis(below)
        depth_axis(below, run)
    else:
        write_sentence(below, "not measured", 120)
    for column, (site, title) in enumerate(_SITES.items(), start=1):
        for row, (end, words) in enumerate((("t0", "token 0"), ("early", "positions 1 to 15"))):
            axes = grid[row, column]
            axes.set_title(f"{title},\n{words}")
            if not curves(axes, run, rows[f"{site}_{end}"], logarithmic=True):
                write_sentence(axes, "not measured", 120)
                continue
            depth_axis(axes, run)
        _same_scale(grid[0, column], grid[1, column])
    grid[0, 1].set_ylabel("l2 norm (model units)")
    grid[1, 1].set_ylabel("l2 norm (model units)")
    return page


def _same_scale(upper: Axes, lower: Axes) -> None:
    """Token 0 and early tokens on one scale, so that their distance is seen."""
    drawn = [axes for axes in (upper, lower) if axes.axison]
    if not drawn:
        return
    limits = [axes.dataLim for axes in drawn]
    low, high = min(box.y0 for box in limits), max(box.y1 for box in limits)
    for axes in drawn:
        axes.set_ylim(low / 1.15, high * 1.15)
        log_axis(axes)


ENTRY = Entry(
    "by_layer",
    "Sinks, gradients and norms by layer",
    draw,
    "Sink rate, equation (1), and gradient-sink ratio, equation (6), of each layer; norms of a token's vector, mean "
    "over sequences, equation (3), at token 0 (above) and as the mean over positions 1 to 15 (below), on the same "
    "scale. Where a run has several seeds the line is their mean and the band reaches from the smallest to the "
    "largest.",
)
