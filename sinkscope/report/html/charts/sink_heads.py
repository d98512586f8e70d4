"""Heads by layer: the attention that each gives token 0, and which other tokens are sinks of it."""

from typing import cast

import numpy as np
import pandas as pd

from sinkscope.report.html.charts.chart import Chart, Trace, counted_axis, rounded, shown
from sinkscope.report.text import counted
from sinkscope.tables.run_folder import Run

_NAMED = 5  # other sinks of a head that are named
_LABEL = "layer %{x}, query head %{y}<br>"


def chart(run: Run) -> Chart:
    """Layers to the right, heads upwards, as in the figure."""
    layers, heads = run.info["model"]["layers"], run.info["model"]["heads"]
    first = run["heads"][run["heads"]["position"] == 0]
    others = run["sinks"][run["sinks"]["position"] > 0]
    texts = _texts(first, others, run.info["data"]["sequences"], layers, heads)
    alpha = _grid(first, first["alpha"], layers, heads, np.nan)
    alone = (
        others.drop_duplicates(["layer", "head", "sequence"]).groupby(["layer", "head"]).size().reset_index(name="n")
    )
    elsewhere = _grid(alone, alone["n"] / run.info["data"]["sequences"], layers, heads, 0.0)
    return Chart(
        "Every head: its attention to token 0, and its other sinks",
        "Hover or tap a cell for the head's alpha, how often it has a sink, and the tokens of its other sinks.",
        {
            "alpha at token 0": [_trace(alpha, texts, "alpha", "Viridis", "alpha at token 0: %{z:.3f}<br>")],
            "sequences with a sink elsewhere": [
                _trace(elsewhere, texts, "share", "Cividis", "a sink elsewhere in %{z:.0%} of sequences<br>")
            ],
        },
        {"xaxis": counted_axis("layer", layers), "yaxis": counted_axis("query head", heads)},
        height=max(300, min(900, 130 + 16 * heads)),
        choice="Shown",
    )


def _trace(values: np.ndarray, texts: list[list[str]], name: str, colours: str, label: str) -> Trace:
    return {
        "type": "heatmap", "z": rounded(values), "text": texts, "zmin": 0, "zmax": 1, "colorscale": colours,
        "colorbar": {"title": {"text": name}}, "xgap": 1, "ygap": 1,
        "hovertemplate": f"{_LABEL}{label}%{{text}}<extra></extra>",
    }  # fmt: skip


def _grid(rows: pd.DataFrame, values: "pd.Series[float]", layers: int, heads: int, missing: float) -> np.ndarray:
    grid = np.full((heads, layers), missing)
    grid[rows["head"], rows["layer"]] = values
    return grid


def _texts(first: pd.DataFrame, others: pd.DataFrame, sequences: int, layers: int, heads: int) -> list[list[str]]:
    """What is said of each head, [head][layer]."""
    texts = [["" for _ in range(layers)] for _ in range(heads)]
    for layer, head, share in first[["layer", "head", "sink_fraction"]].itertuples(index=False):
        texts[head][layer] = f"token 0 is a sink in {round(share * sequences)} of {counted(sequences, 'sequence')}"
    for key, rows in others.groupby(["layer", "head"]):
        layer, head = cast("tuple[int, int]", key)
        strongest = rows.sort_values("alpha", ascending=False, kind="stable")
        names = [
            f"{shown(token)} at position {position}, sequence {sequence}: {alpha:.3f}"
            for token, position, sequence, alpha in
            strongest[["token", "position", "sequence", "alpha"]].head(_NAMED).itertuples(index=False)
        ]  # fmt: skip
        names += [f"and {len(rows) - _NAMED} more"] if len(rows) > _NAMED else []
        texts[head][layer] += "<br>other sinks:<br>" + "<br>".join(names)
    return texts
