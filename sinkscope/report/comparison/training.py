"""How the loss came down in a finetuning: the training with V-scale and its control, on the same batches."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from sinkscope.report import style
from sinkscope.report.axes import spread_axis
from sinkscope.report.comparison.runs import Side, sides_of
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import fitted, listed, literal, number
from sinkscope.tables.run_folder import Run

_NAME = 150.0  # points that a run's name may take
_TITLE = 640.0
_DIGITS = 4  # of a loss: a training changes its third


def draw(run: Run) -> Page:
    """Losses by step, and where there are two trainings the difference of the others to the reference."""
    page = Page()
    curves = {side: _of(run, side) for side in sides_of(run)}
    trained = {side: rows for side, rows in curves.items() if len(rows) > 1}
    others = [side for side in trained if side is not next(iter(trained))]
    panels = page.subplots(2 if others else 1, 1, squeeze=False, sharex=True)[:, 0]
    panels[0].set_title(_title(trained))
    panels[0].legend(handles=_losses(panels[0], run, curves), loc="upper left", bbox_to_anchor=(1, 1))
    if others:
        _differences(panels[1], trained, others)
    panels[-1].set_xlabel("optimizer steps done")
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return page


def _of(run: Run, side: Side) -> pd.DataFrame:
    rows = run["training_losses"]
    return rows[rows["run"] == side.name].set_index("step").sort_index()


def _losses(axes: Axes, run: Run, curves: dict[Side, pd.DataFrame]) -> list[Line2D]:
    """Draws every curve; returns what a key has to explain."""
    handles = []
    for side, rows in curves.items():
        axes.plot(rows.index, rows["loss"], color=side.colour, linewidth=1, alpha=0.55)
        held = rows["valid_loss"].dropna()
        axes.plot(held.index, held, color=side.colour, marker=side.marker, linewidth=2, markersize=7,
                  markeredgecolor="white", clip_on=False, zorder=3)  # fmt: skip
        if len(rows) == 1:  # a model that was not trained, to hold the others against
            axes.axhline(float(held.iloc[0]), color=side.colour, linestyle=":", linewidth=1)
        label = f"{side.label(_NAME)}: {number(float(held.iloc[0]), _DIGITS)}\n{_start(run, side)}"
        handles.append(Line2D([], [], color=side.colour, marker=side.marker, label=label))
    handles += [
        Line2D([], [], color=style.GREY, linewidth=2, marker="o", label="held-out text"),
        Line2D([], [], color=style.GREY, linewidth=1, alpha=0.7, label="batch of the step"),
    ]
    axes.set_ylabel("loss\n(nats per token)")
    spread_axis(axes)
    return handles


def _start(run: Run, side: Side) -> str:
    """What the first held-out loss of a run is of."""
    valved = [run.info["runs"][n]["measured"][0]["model"].get("vscale") is not None for n in (0, side.number - 1)]
    return "right after attaching V-scale" if valved == [False, True] else "before training"


def _differences(axes: Axes, trained: dict[Side, pd.DataFrame], others: list[Side]) -> None:
    """Losses less those of the first training at the same step: it read the same batch."""
    reference, base = next(iter(trained.items()))
    for side in others:
        less = trained[side][["loss", "valid_loss"]] - base[["loss", "valid_loss"]]
        axes.plot(less.index, less["loss"], color=side.colour, linewidth=1, alpha=0.55)
        held = less["valid_loss"].dropna()
        axes.plot(held.index, held, color=side.colour, marker=side.marker, linewidth=2, markersize=7,
                  markeredgecolor="white", clip_on=False, zorder=3)  # fmt: skip
    axes.axhline(0, color=reference.colour, linewidth=0.8)
    name = literal(fitted(reference.name, _NAME, style.HEADING))
    axes.set_title(f"Difference to {name} at the same step, on the same text")
    axes.set_ylabel("difference of the loss\n(nats per token)")
    axes.yaxis.set_major_locator(MaxNLocator(6))


def _title(trained: dict[Side, pd.DataFrame]) -> str:
    ends = [
        f"{number(float(rows['valid_loss'].iloc[-1]), _DIGITS)} ({side.name})"
        for side, rows in trained.items()
        if np.isfinite(rows["valid_loss"].iloc[-1])
    ]
    steps = max(int(rows.index.max()) for rows in trained.values())
    words = f"Held-out loss after {number(steps)} steps: {listed(ends)}"
    return literal(fitted(words, _TITLE, style.HEADING))


ENTRY = Entry(
    "training",
    "How the loss came down",
    draw,
    "Thin: loss of a step's batch before its update; both trainings read the same batches in the same order. Thick, "
    "with marks: loss on the held-out windows after so many updates; at step 0 before training, with V-scale right "
    "after it was attached. Below: the same less that of the control, which the choice of batches cancels out of. One "
    "training each, so nothing here says how much another seed would move the curves.",
    applies=lambda run: "training_losses" in run.tables,
)
