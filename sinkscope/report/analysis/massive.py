"""Massive activations: the largest entries by channel and layer, and whether they pass the binary test.

The same channel is large at a token in layer after layer, and at many tokens. So a channel is a row of the picture,
once for token 0 and once for all later tokens, and what is massive where is a row of the table.
"""

import pandas as pd
from matplotlib.colors import LogNorm

from sinkscope.quantities.massive_facts import MassiveFact
from sinkscope.report import style
from sinkscope.report.analysis.massive_words import BRANCHES, all_listed, channel_words, channels_left_out, facts
from sinkscope.report.axes import colour_bar, colour_map, layer_axis, write_sentence
from sinkscope.report.entry import Entry
from sinkscope.report.page import RIGHT, Page, paragraph, table
from sinkscope.report.text import counted, fitted, layer_words, listed, literal, number, quoted
from sinkscope.tables.run_folder import Run

_LISTED = 22
_CHANNELS = 3  # that are named in a row
_ROWS = 8  # channels that a panel shows
_TITLE = 350.0  # points that a title may take
_TABLE_LEFT = 0.5


def draw(run: Run) -> Page:
    """Channels x layers of the largest residual entries at token 0 and later, and a table of what is massive where."""
    page = Page(right=_TABLE_LEFT - 0.025)
    entries = run["massive"].assign(size=run["massive"]["value"].abs())
    residual = entries[(entries["site"] == "h_out") & (entries["size"] > 0)]
    at_zero = residual["position"] == 0
    parts = [(rows, name) for rows, name in ((residual[at_zero], "Token 0"), (residual[~at_zero], "Later tokens"))
             if len(rows)]  # fmt: skip
    if parts:
        _pictures(page, run, parts)
    else:
        write_sentence(page.subplots(), "No entry of the residual stream was recorded.")
    _table(page, run)
    return page


def _pictures(page: Page, run: Run, parts: list[tuple[pd.DataFrame, str]]) -> None:
    """A panel per part, on one axis of layers and one scale of colours."""
    layers = run.info["model"]["layers"]
    chosen = [rows.groupby("channel")["size"].max().nlargest(_ROWS) for rows, _ in parts]
    tall = [len(channels) for channels in chosen]
    panels = page.subplots(len(parts), 1, squeeze=False, sharex=True, height_ratios=[max(n, 3) for n in tall])[:, 0]
    shown = [rows[rows["channel"].isin(channels.index)] for (rows, _), channels in zip(parts, chosen, strict=True)]
    sizes = pd.concat([rows["size"] for rows in shown])
    norm = LogNorm(max(float(sizes.min()), float(sizes.max()) * 1e-6), float(sizes.max()) * 1.0001)
    for axes, rows, channels, (_, name) in zip(panels, shown, chosen, parts, strict=True):
        cells = rows.pivot_table(index="channel", columns="layer", values="size", aggfunc="max")
        cells = cells.reindex(index=channels.index, columns=range(layers))
        image = axes.imshow(cells.to_numpy(dtype=float), cmap=colour_map(style.SEQUENTIAL), norm=norm, aspect="auto")
        axes.grid(visible=False)
        axes.set_yticks(range(len(channels)), [str(channel) for channel in channels.index])
        axes.set_ylabel("channel")
        axes.set_title(literal(fitted(_title(rows, name), _TITLE, style.HEADING)))
        layer_axis(axes, layers, "layer" if axes is panels[-1] else "")
        massive = rows[rows["is_massive"]].drop_duplicates(["layer", "channel"])
        rank = {channel: place for place, channel in enumerate(channels.index)}
        axes.plot(massive["layer"], massive["channel"].map(rank), "o", color="white", markeredgecolor="black",
                  markersize=3.5)  # fmt: skip
    colour_bar(image, panels, "|x| (model units)", location="bottom", aspect=40, pad=0.02)


def _title(rows: pd.DataFrame, name: str) -> str:
    """Which channels of a part are massive, or what its largest entry is."""
    massive = rows[rows["is_massive"]]
    if len(massive):
        sizes = massive.groupby("channel")["size"].max().sort_values(ascending=False)
        words = channel_words(tuple(int(channel) for channel in sizes.index))
        return f"{name}: {words} massive, up to {number(float(sizes.iloc[0]))}"
    largest = rows.nlargest(1, "size").iloc[0]
    at = "" if largest["position"] == 0 else f" at {quoted(largest['token'], 10)}"
    return f"{name}: none massive, up to {number(float(largest['size']))}{at}"


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
    "equation (5); such cells carry a white dot. The picture covers the residual stream leaving each layer (h_out): "
    "largest |x| over sequences and tokens, in the channels where it is largest; grey: not among the listed. The "
    "table has a row for channels that are massive at the same tokens in the same layers; + where there are more than "
    "the 32 listed of a sequence.",
)
