"""Image tokens beside text tokens: where sinks stand, how often, and how large the residual stream is there."""

import numpy as np
from matplotlib.axes import Axes

from sinkscope.report import style
from sinkscope.report.axes import layer_axis, log_axis, marker, positive
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run

_LOOKS = {
    "first": ("position 0", style.VERMILION, "-"),
    "text": ("text", style.BLUE, "--"),
    "image": ("image", style.ORANGE, "-."),
}


def draw(run: Run) -> Page:
    """Sinks by position, image positions shaded; share of positions with a sink, and norms, by layer and kind."""
    page = Page()
    grid = page.add_gridspec(2, 2)
    _positions(page.add_subplot(grid[0, :]), run)
    _lines(page.add_subplot(grid[1, 0]), run, "sink_share", "share of positions", ("text", "image"))
    page.axes[-1].set_title("Positions where some head has a sink")
    _lines(page.add_subplot(grid[1, 1]), run, "norm", "mean |h_out| (model units)", ("first", "text", "image"))
    page.axes[-1].set_title("Residual stream leaving a layer")
    log_axis(page.axes[-1])
    page.key(page.axes[-1].get_legend_handles_labels()[0], "Below")
    return page


def _positions(axes: Axes, run: Run) -> None:
    length = int(run["token_kinds"]["stop"].max())
    image, present = np.zeros((2, length))
    kinds = run["token_kinds"]
    for start, stop, kind in zip(kinds["start"], kinds["stop"], kinds["kind"], strict=True):
        present[start:stop] += 1
        image[start:stop] += 1.0 if kind == "image" else 0.0
    sinks = np.bincount(run["sinks"]["position"], minlength=length)[:length]
    axes.bar(np.arange(length), sinks, width=1.0, color=style.VERMILION, label="sinks")
    axes.set_ylabel("sinks")
    axes.set_xlabel("position")
    axes.set_xlim(-0.5, length - 0.5)
    axes.set_ylim(0, max(1.0, 1.08 * float(sinks.max())))
    axes.fill_between(np.arange(length), 0, axes.get_ylim()[1] * image / present, step="mid", color=style.SKY,
                      alpha=0.35, linewidth=0, label="share of image tokens")  # fmt: skip
    axes.set_title("Sinks over layers, heads and sequences, by position; shaded: the share of image tokens there")


def _lines(axes: Axes, run: Run, column: str, label: str, names: tuple[str, ...]) -> None:
    layers = run.info["model"]["layers"]
    for kind in names:
        rows = run["modalities"][run["modalities"]["kind"] == kind]
        name, colour, line = _LOOKS[kind]
        values = positive(rows[column]) if column == "norm" else rows[column]
        axes.plot(rows["layer"], values, color=colour, linestyle=line, marker=marker(layers), label=name)
    axes.set_ylabel(label)
    layer_axis(axes, layers)


ENTRY = Entry(
    "modalities",
    "Image tokens beside text tokens",
    draw,
    "An image token is a position that an image embedding is put in place of. A position counts as a sink if alpha_s "
    "of some head of the layer exceeds epsilon in that sequence, equation (1); the share is over the positions where "
    "alpha is defined. Position 0 stands apart from both kinds, whichever it is. Shading reaches the top where every "
    "sequence has an image token.",
    applies=lambda run: "modalities" in run.tables,
)
