"""What quantization costs each model, method by method, where quantization runs were given beside the analyses."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from sinkscope.report import style
from sinkscope.report.axes import write_sentence
from sinkscope.report.comparison.matrix import Words, matrix
from sinkscope.report.comparison.runs import SHOWN, Side, sides_of, styles
from sinkscope.report.entry import Entry
from sinkscope.report.page import Page
from sinkscope.report.text import fitted, literal, number, printable
from sinkscope.tables.run_folder import Run

_UNQUANTIZED = "none"  # the method that is none
_TABLE_TOP = 0.46
_FIRST = 0.17
_STRAIGHT = 0.01  # nats per token: the axis is logarithmic beyond
_POWERS = (0.01, 0.1, 1.0, 10.0)
_METHODS_POINTS = 690.0
_KEY_POINTS = 520.0


def draw(run: Run) -> Page:
    """Change of the loss by method and model with its interval, and the same in a table."""
    page = Page(bottom=_TABLE_TOP + 0.03)
    axes = page.subplots()
    rows = run["compared_quantization"]
    models = list(dict.fromkeys(rows["model"]))[:SHOWN]
    methods = list(dict.fromkeys(rows["method"]))
    table = rows.replace([np.inf, -np.inf], np.nan).drop_duplicates(["model", "method"])
    table = table.set_index(["model", "method"])
    known = rows[np.isfinite(rows["delta_low"]) & (rows["method"] != _UNQUANTIZED)]
    changes = [method for method in methods if (known["method"] == method).any()]
    if changes:
        _changes(axes, table, models, changes, _styles(run, models))
        page.key(_key(run, models))
    else:
        write_sentence(axes, "No change of the loss has an interval.")
    cells = [
        (printable(method), [_cell(table, model, method) for model in models]) for method in methods
    ]  # fmt: skip
    matrix(page, [f"{n} {printable(model, keep_end=True)}" for n, model in enumerate(models, start=1)], cells,
           top=_TABLE_TOP, first=_FIRST, lines=1)  # fmt: skip
    return page


def _styles(run: Run, models: list[str]) -> list[tuple[str, str]]:
    """Colour and marker of each model: those of the compared run of that name, or model, where there is one."""
    known: dict[str, Side] = {}
    for side, entry in zip(sides_of(run), run.info["runs"], strict=False):
        for name in (entry["measured"][0]["model"]["name"], side.name):
            known.setdefault(name, side)
    taken = {known[model].number for model in models if model in known}
    free = [(colour, shape) for place, (colour, shape) in enumerate(styles(), start=1) if place not in taken]
    return [(known[model].colour, known[model].marker) if model in known else free.pop(0) for model in models]


def _changes(
    axes: Axes, table: pd.DataFrame, models: list[str], methods: list[str], looks_of: list[tuple[str, str]]
) -> None:
    for place, (model, (colour, shape)) in enumerate(zip(models, looks_of, strict=True)):
        rows = table.loc[model].reindex(methods)
        x = np.arange(len(methods)) + 0.7 * ((place + 0.5) / len(models) - 0.5)
        ends = np.stack([rows["delta"] - rows["delta_low"], rows["delta_high"] - rows["delta"]])
        axes.errorbar(x, rows["delta"], yerr=np.nan_to_num(np.clip(ends, 0, None)), color=colour, fmt=shape,
                      markersize=5, elinewidth=1.2)  # fmt: skip
    axes.axhline(0, color=style.BLACK, linewidth=0.8)
    room = _METHODS_POINTS / len(methods) - 8
    axes.set_xticks(range(len(methods)), [literal(fitted(printable(method), room, style.SMALL)) for method in methods])
    axes.set_xlim(-0.5, len(methods) - 0.5)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("method")
    axes.set_ylabel("change of the loss\n(nats per token)")
    largest = float(np.nanmax(np.abs(table[["delta_low", "delta_high"]].to_numpy(dtype=float))))
    if largest > 10 * _STRAIGHT:
        axes.set_yscale("symlog", linthresh=_STRAIGHT)
        axes.set_ylim(min(1.5 * float(np.nanmin(table["delta_low"])), -_STRAIGHT), 2 * largest)
        ticks = [power for power in _POWERS if power <= 2 * largest]
        axes.set_yticks([-_STRAIGHT, 0, *ticks], [f"{tick:g}" for tick in (-_STRAIGHT, 0, *ticks)])
        axes.minorticks_off()


def _key(run: Run, models: list[str]) -> list[Line2D]:
    room = _KEY_POINTS / len(models) - 30
    return [
        Line2D([], [], linestyle="", color=colour, marker=shape, markersize=6,
               label=literal(fitted(f"{n} {printable(model, keep_end=True)}", room, style.SMALL)))
        for n, (model, (colour, shape)) in enumerate(zip(models, _styles(run, models), strict=True), start=1)
    ]  # fmt: skip


def _cell(table: pd.DataFrame, model: str, method: str) -> tuple[Words, ...]:
    if (model, method) not in table.index:
        return (Words("-", colour=style.GREY),)
    row: Any = table.loc[(model, method)]
    change = "" if not np.isfinite(row["delta"]) or method == _UNQUANTIZED else f", {row['delta']:+.3g}"
    return (Words(f"{number(float(row['perplexity']))}{change}"),)


ENTRY = Entry(
    "quantization",
    "Quantization side by side",
    draw,
    "Loss of each quantized model minus that of the same model unquantized, on the same windows, with the 95 % "
    "interval of the quantization run (paired bootstrap over sequences). Table: perplexity and change of the loss in "
    "nats per token. Perplexities compare between models only where these read the same windows.",
    applies=lambda run: "compared_quantization" in run.tables,
)
