"""What several pages of the ablation report share: an axis of interventions, and changes with their intervals."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from sinkscope.report import style
from sinkscope.report.text import literal

LINEAR = 0.01  # changes below this many nats lie on the straight middle of a logarithmic axis
OWN, CONTROL = style.VERMILION, style.BLUE


def errors(axes: Axes, values: Any, low: Any, high: Any, places: Any, colour: str, mark: str) -> None:
    """Values along x with their intervals, at places along y."""
    value, low, high = (np.asarray(x, dtype=float) for x in (values, low, high))
    ends = np.nan_to_num(np.clip(np.stack([value - low, high - value]), 0, None))
    axes.errorbar(value, places, xerr=ends, color=colour, fmt=mark, markersize=5, capsize=3, elinewidth=1.2)


def named_rows(axes: Axes, names: list[str]) -> None:
    """A vertical axis of names, the first on top."""
    axes.set_yticks(range(len(names)), [literal(name) for name in names], fontsize=style.SMALL)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")


def change_scale(axes: Axes, values: Any, *, vertical: bool = False) -> None:
    """The axis of changes of the loss: straight, or logarithmic on both sides where they span decades.

    Call it after drawing: its limits follow what is there.
    """
    axis, limits, scale = (
        (axes.yaxis, axes.set_ylim, axes.set_yscale) if vertical else (axes.xaxis, axes.set_xlim, axes.set_xscale)
    )
    finite = np.abs(np.asarray(values, dtype=float))
    finite = finite[np.isfinite(finite) & (finite > 0)]
    spread = len(finite) and finite.max() > 8 * max(float(np.median(finite)), LINEAR)
    if spread:
        low, high = axes.get_ylim() if vertical else axes.get_xlim()
        scale("symlog", linthresh=LINEAR)
        powers = [10.0**power for power in range(round(np.log10(LINEAR)), int(np.ceil(np.log10(max(high, 0.1)))) + 1)]
        ticks = [-power for power in powers if -power > low] + [0.0, *powers]
        axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
        limits(min(low, -0.3 * LINEAR), 1.3 * high)
        axes.minorticks_off()
    (axes.axhline if vertical else axes.axvline)(0, color=style.GREY, linewidth=0.8)
    words = "change of the loss (nats per token)" + (f",\nlogarithmic beyond {LINEAR:g}" if spread else "")
    (axes.set_ylabel if vertical else axes.set_xlabel)(words)
