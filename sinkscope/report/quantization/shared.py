"""What several pages of the quantization report share: the colours of models, axes of methods, grids of sites."""

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.quantization.sentences import models, short
from sinkscope.report.text import literal, printable
from sinkscope.tables.run_folder import Run

_COLOURS = (style.BLUE, style.VERMILION, style.GREEN, style.ORANGE, style.PURPLE, style.SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")
MANY = len(_COLOURS)  # models that a page tells apart by colour
_LONG = 20  # letters of a method's name, as those of caches have, that take more than their share of an axis
SIDE_BY_SIDE = 3  # models that have panels of their own on one page


def coloured(run: Run) -> dict[str, str]:
    """A colour for each model that pages show: the first six."""
    return dict(zip(models(run), _COLOURS, strict=False))


def handles(run: Run) -> list[Artist]:
    """The legend's entries, one per model."""
    names = coloured(run).items()
    return [
        Line2D([], [], color=colour, marker=mark, linestyle="", markersize=6, label=literal(short(model)))
        for (model, colour), mark in zip(names, MARKERS, strict=False)
    ]


def offsets(count: int, width: float = 0.7) -> list[float]:
    """Places of `count` marks around a tick."""
    return [(index - (count - 1) / 2) * width / max(count, 1) for index in range(count)]


def method_axis(axes: Axes, names: list[str], few: int = 6) -> None:
    """A horizontal axis of methods; more than `few` names, or long ones, are broken into lines; many stand upright."""
    crowded, upright = len(names) > few or max(map(len, names), default=0) > _LONG, len(names) > 3 * few
    labels = [re.sub(r"([-+])", r"\1\n", name) if crowded and not upright else name for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=90 if upright else 0)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.grid(visible=False, axis="x")


_LINEAR = 1e-3  # changes below this many nats lie on the straight middle of a logarithmic axis


def intervals(axes: Axes, x: Any, rows: pd.DataFrame, colour: str, mark: str) -> None:
    """Changes of the loss with their intervals."""
    delta = rows["delta"].to_numpy(dtype=float)
    low, high = (rows[f"delta_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    ends = np.nan_to_num(np.clip(np.stack([delta - low, high - delta]), 0, None))
    axes.errorbar(x, delta, yerr=ends, color=colour, fmt=mark, markersize=5, capsize=3, elinewidth=1.2)


def change_axis(axes: Axes, values: Any) -> None:
    """The vertical axis of changes of the loss: straight, or logarithmic where they span decades.

    Call it after drawing: its limits follow what is there.
    """
    finite = np.abs(np.asarray(values, dtype=float))
    finite = finite[np.isfinite(finite) & (finite > 0)]
    if len(finite) and finite.max() > 8 * max(np.median(finite), _LINEAR):
        low, high = axes.get_ylim()
        axes.set_yscale("symlog", linthresh=_LINEAR)
        powers = [10.0**power for power in range(round(np.log10(_LINEAR)), int(np.ceil(np.log10(max(high, 0.01)))) + 1)]
        ticks = [-power for power in powers if -power > low] + [0.0, *powers]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_ylim(min(low, -0.3 * _LINEAR), 1.3 * high)
        axes.minorticks_off()
    axes.axhline(0, color=style.GREY, linewidth=0.8)
    scale = f",\nlogarithmic beyond {_LINEAR:g}" if axes.get_yscale() == "symlog" else ""
    axes.set_ylabel(f"change of the loss\n(nats per token{scale})")


def named_axis(axes: Axes, models: list[str]) -> None:
    """A horizontal axis of models by their names, upright where there are more than two."""
    names = [literal(printable(short(model), 16, keep_end=True)) for model in models]
    axes.set_xticks(range(len(names)), names, rotation=0 if len(names) <= 2 else 90)
    axes.set_xlim(-0.6, len(names) - 0.4)
    axes.grid(visible=False, axis="x")


def site_grid(rows: pd.DataFrame, column: str, sites: list[str], layers: int) -> Any:
    """Values by [site, layer], NaN where there is none."""
    grid = np.full((len(sites), layers), np.nan)
    row: Any
    for row in rows.itertuples():
        grid[sites.index(row.site), row.layer] = getattr(row, column)
    return grid
