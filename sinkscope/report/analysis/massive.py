"""Massive activations: the largest entries by token and channel, and whether they pass the binary test."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from sinkscope.report import style
from sinkscope.report.axes import colour_bar, colour_map, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import RIGHT, Page, paragraph, table
from sinkscope.report.text import literal, number, quoted
from sinkscope.tables.run_folder import Run

_LISTED = 22
_TOKENS, _CHANNELS = 16, 24
_TABLE_LEFT = 0.5


def draw(run: Run) -> Page:
    """Tokens x channels of the largest residual entries, and a table of the largest entries of all sites."""
    page = Page(right=_TABLE_LEFT - 0.025)
    axes = page.subplots()
    entries = run["massive"].assign(size=run["massive"]["value"].abs())
    residual = entries[entries["site"] == "h_out"]
    if residual["size"].gt(0).any():
        _picture(axes, residual)
    else:
        write_sentence(axes, "No entry of the residual stream was recorded.")
    _largest(page, entries)
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


def _largest(page: Page, entries: pd.DataFrame) -> None:
    massive = int(entries["is_massive"].sum())
    residual = int((entries["is_massive"] & (entries["site"] == "h_out")).sum())
    sentence = (
        f"{number(massive)} entries pass the binary test, {number(residual)} of them in h_out."
        if massive
        else "No entry passes the binary test; the largest ones are listed all the same."
    )
    top = paragraph(page, sentence, top=0.895, left=_TABLE_LEFT, size=style.BODY, weight="bold")
    strongest = entries.sort_values(["is_massive", "size"], ascending=False, kind="stable")
    strongest = strongest.drop_duplicates(["layer", "site", "position", "channel"]).head(_LISTED)
    cells = [
        (
            str(row["layer"]),
            str(row["site"]),
            str(row["position"]),
            quoted(row["token"], 10),
            str(row["channel"]),
            number(float(row["value"]), 4),
            number(float(row["ratio_to_median"])),
            "yes" if row["is_massive"] else "no",
        )
        for row in strongest.to_dict("records")
    ]
    header = ("Layer", "Site", "Pos.", "Token", "Channel", "Value", "x median", "Massive")
    table(page, header, cells, top=top - 0.01, left=_TABLE_LEFT, right=RIGHT, size=style.SMALL,
          shares=(35, 48, 35, 78, 52, 50, 58, 48))  # fmt: skip


ENTRY = Entry(
    "massive_activations",
    "Massive activations: the largest entries",
    draw,
    "An entry is massive if |x| > 100 and at least 1000 times the median |x| of its sequence, layer and site, "
    "equation (5); such cells carry a white dot. The picture covers the residual stream leaving each layer (h_out) "
    "and the tokens and channels with the largest entries; grey cells hold no recorded entry. The table lists the "
    "largest entries of h_out, r_attn, r_mlp and down_in, each layer, site, position and channel once, massive "
    "ones first.",
)
