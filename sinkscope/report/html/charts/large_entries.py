"""The largest entries one by one: where each stands, of which token and channel."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from sinkscope.report import style
from sinkscope.report.html.charts.chart import Chart, axis, counted_axis, rounded, shown
from sinkscope.report.text import number
from sinkscope.tables.run_folder import Run

POINTS = 4000  # that a browser draws without delay; the table has all
_COLOURS = {"h_out": style.VERMILION, "r_attn": style.BLUE, "r_mlp": style.GREEN, "down_in": style.PURPLE}
_SPREAD = 0.6  # of a layer's width, so that the sequences stand beside each other


def chart(run: Run) -> Chart:
    """|x| over layers, a colour per site, massive entries filled."""
    entries = run["massive"].assign(size=run["massive"]["value"].abs())
    entries = entries[entries["size"] > 0]
    most = entries.nlargest(POINTS, "size", keep="first")
    left = f" The {number(POINTS)} largest of {number(len(entries))}." if len(entries) > POINTS else ""
    return Chart(
        "Every recorded entry, with its token and channel",
        "Hover or tap a point for its token, position, channel, value and ratio to the median. Filled points are "
        f"massive by the binary test; within a layer, sequences stand side by side.{left} The legend hides a site.",
        {
            "": [
                _trace(rows, str(site), run.info["data"]["sequences"])
                for site, rows in most.groupby("site", sort=False)
            ]
        },
        {
            "xaxis": counted_axis("layer", run.info["model"]["layers"]),
            "yaxis": axis("|x| (model units)", type="log", dtick=1, exponentformat="none", separatethousands=True),
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        },
        height=480,
    )


def _trace(rows: pd.DataFrame, site: str, sequences: int) -> dict[str, object]:
    offsets = _SPREAD * ((rows["sequence"] + 0.5) / sequences - 0.5)
    colour = _COLOURS.get(site, style.GREY)
    texts = [_text(row) for row in rows.to_dict("records")]
    symbols = ["circle" if massive else "circle-open" for massive in rows["is_massive"]]
    return {
        "type": "scatter", "mode": "markers", "name": site, "x": rounded(rows["layer"] + offsets),
        "y": rounded(rows["size"]), "text": texts, "marker": {"color": colour, "symbol": symbols, "size": 7},
        "hovertemplate": f"{site}: %{{text}}<extra></extra>",
    }  # fmt: skip


def _text(row: Mapping[Hashable, Any]) -> str:
    lines = [
        f"{shown(row['token'])} at position {row['position']}, sequence {row['sequence']}",
        f"layer {row['layer']}, channel {row['channel']}",
        f"value {number(float(row['value']), 4)}",
        f"{number(float(row['ratio_to_median']))} x the median",
    ]
    return "<br>".join([*lines, "massive"] if row["is_massive"] else lines)
