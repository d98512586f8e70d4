"""What the figures need of every compared run, in tables of the comparison's own.

A comparison is redrawn from its folder alone, long after the compared folders are gone; so it carries their curves by
layer, the early tokens of the reshaping scatters and theta, which stay small whatever the models' size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sinkscope.quantities.measured import NEIGHBOURS, zero_and_neighbours
from sinkscope.tables.columns import TABLES, frame
from sinkscope.tables.run_folder import Run
from sinkscope.tables.unmitigated import unmitigated

_NORMS = ("h_out", "r_mlp", "r_attn")
_VALUES = {"v": "norm", "v_scaled": "norm_scaled"}


def stacked(runs: Sequence[Run], names: Sequence[str], seeds: Sequence[int]) -> dict[str, pd.DataFrame]:
    """The tables `compared_layers`, `compared_branches` and, where a run has V-scale, `compared_vscale`.

    Args:
        runs: analyses.
        names: of each run.
        seeds: the number of each run among those of its name.
    """
    members = list(zip(runs, names, seeds, strict=True))
    tables = {
        "compared_layers": _joined("compared_layers", [(_layers(run), name, seed) for run, name, seed in members]),
        "compared_branches": _joined(
            "compared_branches", [(_branches(run), name, seed) for run, name, seed in members]
        ),
    }
    valved = [(run["vscale"], name, seed) for run, name, seed in members if "vscale" in run.tables]
    return {**tables, "compared_vscale": _joined("compared_vscale", valved)} if valved else tables


def stacked_quantization(runs: Mapping[str, Run]) -> dict[str, pd.DataFrame]:
    """The table `compared_quantization`; none without quantization runs."""
    if not runs:
        return {}
    joined = pd.concat(
        [unmitigated(run["quantization"]).assign(run=name) for name, run in runs.items()], ignore_index=True
    )
    columns = TABLES["compared_quantization"].columns
    return {
        "compared_quantization": frame("compared_quantization", {c.name: joined[c.name].to_numpy() for c in columns})
    }


def _joined(table: str, parts: list[tuple[pd.DataFrame, str, int]]) -> pd.DataFrame:
    joined = pd.concat([rows.assign(run=name, seed=seed) for rows, name, seed in parts], ignore_index=True)
    return frame(table, {column.name: joined[column.name].to_numpy() for column in TABLES[table].columns})


def _layers(run: Run) -> pd.DataFrame:
    rows = run["layers"].set_index("layer")[["sink_rate", "gradient_sink_ratio"]].sort_index()
    for site in _NORMS:
        norms = zero_and_neighbours(run["positions"], site)
        rows[f"{site}_t0"], rows[f"{site}_early"] = norms["t0"], norms["early"]
    for site, column in _VALUES.items():
        means = run["values"].groupby(["layer", "position"])[column].mean().rename("norm").reset_index()
        rows[f"{site}_t0"] = means[means["position"] == 0].set_index("layer")["norm"]
        rows[f"{site}_early"] = means[means["position"].between(*NEIGHBOURS)].groupby("layer")["norm"].mean()
    rows = rows.reset_index()
    rows["depth"] = depth(rows["layer"].to_numpy(), len(rows))
    return rows


def depth(layer: Any, layers: int) -> Any:
    """Relative depth of a layer: 0 for the first, 1 for the last."""
    return np.asarray(layer) / max(layers - 1, 1)


def _branches(run: Run) -> pd.DataFrame:
    rows: pd.DataFrame = run["branches"][run["branches"]["position"] <= NEIGHBOURS[1]]
    return rows
