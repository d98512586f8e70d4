"""Norms by layer and position at every site, with the tokens that stand at a position."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from sinkscope.report.html.charts.chart import Chart, axis, counted_axis, rounded, shown
from sinkscope.report.text import counted
from sinkscope.sites import Site
from sinkscope.tables.run_folder import Run

_FIRST = Site.H_OUT  # the site that is shown before one is chosen
_NAMED = 3  # tokens of a position that are named
_UNKNOWN = "token not recorded"
_RECORDED = ["sequence", "position", "token"]


def chart(run: Run) -> Chart:
    """Layers downwards, positions to the right; colours are powers of ten."""
    norms = run["positions"]
    tokens = _tokens(run)
    present = [site for site in Site if (norms["site"] == site).any()]
    present.sort(key=lambda site: site != _FIRST)
    last = int(norms["position"].max())
    names = [tokens.get(position, _UNKNOWN) for position in range(last + 1)]
    views = {str(site): [_trace(norms[norms["site"] == site], names)] for site in present}
    return Chart(
        "The norm of every position, layer by layer",
        "Hover or tap a cell for the norm, mean over sequences, and the tokens at that position, where a sink or a "
        "large entry of it was recorded. Colours are powers of ten.",
        views,
        {"xaxis": counted_axis("position", last + 1), "yaxis": axis("layer", tickformat="d", zeroline=False)},
        height=max(340, min(800, 140 + 12 * run.info["model"]["layers"])),
        choice="Site",
    )


def _trace(rows: pd.DataFrame, names: list[str]) -> dict[str, object]:
    norms = rows.pivot_table(index="layer", columns="position", values="norm").reindex(columns=range(len(names)))
    with np.errstate(divide="ignore"):
        powers = np.log10(norms.to_numpy(dtype=float))
    texts = [[f"norm {norm:.4g}<br>{name}" for norm, name in zip(row, names, strict=True)] for row in norms.to_numpy()]
    return {
        "type": "heatmap", "z": rounded(np.round(powers, 2)), "y": norms.index.tolist(), "text": texts,
        "colorscale": "Viridis", "colorbar": {"title": {"text": "log10"}},
        "hovertemplate": "layer %{y}, position %{x}<br>%{text}<extra></extra>",
    }  # fmt: skip


def _tokens(run: Run) -> Mapping[int, str]:
    """What is known of the tokens at a position, as text for plotly."""
    recorded = pd.concat([run["sinks"][_RECORDED], run["massive"][_RECORDED]]).drop_duplicates()
    counts = recorded.groupby(["position", "token"], sort=False).size().sort_values(ascending=False, kind="stable")
    found: dict[int, list[str]] = {}
    for position, token in counts.index:
        found.setdefault(position, []).append(token)
    sequences = recorded["position"].value_counts().to_dict()
    words: dict[int, str] = {}
    for position, tokens in found.items():
        named = ", ".join(shown(token) for token in tokens[:_NAMED])
        more = f" and {len(tokens) - _NAMED} others" if len(tokens) > _NAMED else ""
        words[position] = f"{named}{more} in {counted(sequences[position], 'sequence')}"
    return words
