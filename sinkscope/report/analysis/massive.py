"""Massive activations: the largest entries by token and channel, and whether they pass the binary test."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from sinkscope.quantities.massive_facts import MassiveFact
from sinkscope.report import style
from sinkscope.report.analysis.massive_words import BRANCHES, all_listed, channels_left_out, facts
from sinkscope.report.axes import colour_bar, colour_map, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import RIGHT, Page, paragraph, table
from sinkscope.report.text import counted, layer_words, listed, literal, number, quoted
from sinkscope.tables.run_folder import Run

_LISTED = 22
_CHANNELS = 3  # that are named in a row
_TOKENS, _CHANNELS = 16, 24
_TABLE_LEFT = 0.5


def draw(run: Run) -> Page:
    """Tokens x channels of the largest residual entries, and a table of what is massive at all sites."""
    page = Page(right=_TABLE_LEFT - 0.025)
    axes = page.subplots()
    entries = run["massive"].assign(size=run["massive"]["value"].abs())
    residual = entries[entries["site"] == "h_out"]
    if residual["size"].gt(0).any():
        _picture(axes, residual)
    else:
        write_sentence(axes, "No entry of the residual stream was recorded.")
    _table(page, run)
    return page


def _picture(axes: Axes, residual: pd.DataFrame) -> None:
    tokens = residual.groupby(["position", "token"])["size"].max().nlargest(_TOKENS).sort_index()
    channels = residual.groupby("channel")["size"].max().nlargest(_CHANNELS).sort_index()
    cells = residual.pivot_table(index=["position", "token"], columns="channel", values="size", aggfunc="max")
    sizes = cells.reindex(index=tokens.index, columns=channels.index).to_numpy(dtype=float)
    largest = float(np.nanmax(sizes))
    norm = LogNorm(max(float(np.nanmin(sizes)), largest * 1e-6), largest * 1.0001)
    image = axes.imshow(np.ma.masked_invalid(sizes), cmap=colour_map(style.SEQUENTIAL), norm=norm, aspect="auto")
    axes.grid(visible=False)
    axes.set_xticks(range(len(channels)), [str(channel) for channel in channels.index], rotation=90)
    names = [literal(f"{position}  {quoted(token, 12)}") for position, token in tokens.index]
    axes.set_yticks(range(len(tokens)), names)
    axes.set_xlabel("channel of the residual stream")
    axes.set_ylabel("position and token")
    axes.set_title("Largest |x| over layers and sequences")
    colour_bar(image, axes, "|x| (model units)", location="bottom", aspect=40, pad=0.02)
    _mark(axes, residual[residual["is_massive"]], list(tokens.index), list(channels.index))


def _mark(axes: Axes, massive: pd.DataFrame, tokens: list[Any], channels: list[Any]) -> None:
    """A white dot on every drawn cell that holds a massive entry."""
    for position, token, channel in massive[["position", "token", "channel"]].drop_duplicates().to_numpy():
        if (position, token) in tokens and channel in channels:
            place = channels.index(channel), tokens.index((position, token))
            axes.plot(*place, marker="o", color="white", markeredgecolor="black")


def _table(page: Page, run: Run) -> None:
    """What is massive where, a row per fact; without any, the largest entries, a row per channel and token."""
    known = [fact for site in ("h_out", *BRANCHES) for fact in facts(run, site)]
    if not known:
        words = "No entry passes the binary test; these are the largest ones."
        cells = _unmassive(run)
    else:
        words = _counted(run)
        cells = [_cells(run, fact) for fact in known[:_LISTED]]
    top = paragraph(page, words, top=0.895, left=_TABLE_LEFT, size=style.BODY, weight="bold")
    top = table(page, ("Site", "Channels", "At", "Layers", "Seq.", "Largest"), cells, top=top - 0.01, left=_TABLE_LEFT,
                right=RIGHT, size=style.SMALL, shares=(52, 100, 100, 85, 34, 50))  # fmt: skip
    rest, cut = known[_LISTED:], [site for site in ("h_out", *BRANCHES) if channels_left_out(run, site)]
    if cut:
        words = f"In {listed(cut)} further channels are massive, too small to be among the listed."
        top = paragraph(page, words, top=top, left=_TABLE_LEFT, right=RIGHT, size=style.SMALL)
    if rest:
        paragraph(page, f"and {counted(len(rest), 'more row')} of single channels and places: see massive.parquet",
                  top=top, left=_TABLE_LEFT, right=RIGHT, size=style.SMALL)  # fmt: skip


def _counted(run: Run) -> str:
    """How many entries pass the test, and that they are few facts."""
    counts = {site: _entries(run, site) for site in ("h_out", *BRANCHES)}
    total = sum(counts.values())
    return f"{number(total)} entries pass the binary test, {number(counts['h_out'])} of them in h_out. They are:"


def _entries(run: Run, site: str) -> int:
    if "massive_counts" in run.tables:
        counts = run["massive_counts"]
        return int(counts.loc[counts["site"] == site, "entries"].sum())
    return int((run["massive"]["is_massive"] & (run["massive"]["site"] == site)).sum())


def _cells(run: Run, fact: MassiveFact) -> tuple[str, ...]:
    few = len(fact.channels) <= _CHANNELS
    channels = ", ".join(map(str, fact.channels)) if few else f"{number(len(fact.channels))} of them"
    token = "" if fact.at_zero else f" {quoted(fact.tokens[0], 8)}"
    places = number(fact.places) + ("" if all_listed(run, fact.site) else "+")
    at = "token 0" if fact.at_zero else f"{places} later{token}" if fact.position is None else f"{fact.position}{token}"
    layers = layer_words(fact.layers).removeprefix("layers ").removeprefix("layer ")
    return fact.site, channels, at, layers, number(fact.sequences), number(round(fact.largest))


def _unmassive(run: Run) -> list[tuple[str, ...]]:
    entries = run["massive"].assign(size=run["massive"]["value"].abs())
    entries = entries.sort_values("size", ascending=False, kind="stable")
    cells: list[tuple[str, ...]] = []
    for (site, channel, position), rows in entries.groupby(["site", "channel", "position"], sort=False):
        at = f"{position} {quoted(rows['token'].iloc[0], 8)}"
        layers = layer_words(rows["layer"].tolist()).removeprefix("layers ").removeprefix("layer ")
        largest = number(float(rows["size"].iloc[0]))
        cells.append((str(site), str(channel), at, layers, number(int(rows["sequence"].nunique())), largest))
        if len(cells) == _LISTED:
            break
    return cells


ENTRY = Entry(
    "massive_activations",
    "Massive activations: the largest entries",
    draw,
    "An entry is massive if |x| > 100 and at least 1000 times the median |x| of its sequence, layer and site, "
    "equation (5); such cells carry a white dot. The picture covers the residual stream leaving each layer (h_out), "
    "the tokens and channels with the largest entries; grey: not among the listed. The table has a row for channels "
    "that are massive at the same tokens in the same layers; + where there are more than the 32 listed of a sequence.",
)
