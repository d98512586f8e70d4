"""Quantities by layer, from the tables of a run: what a track keeps, and what a headline number is often taken from."""

from collections.abc import Callable

import pandas as pd

from sinkscope.quantities.measured import NEIGHBOURS, Measured

Curve = Callable[[Measured], "pd.Series[float]"]


def alpha_max(run: Measured) -> "pd.Series[float]":
    """Largest alpha_0 of a head, mean over sequences."""
    return run.first_heads.groupby("layer")["alpha"].max()


def over_neighbours(site: str) -> Curve:
    """Norm of token 0 over the mean norm of its neighbours."""

    def of(run: Measured) -> "pd.Series[float]":
        return run.norms(site)["t0"] / run.norms(site)["early"]

    return of


def abs_max_over_median(run: Measured) -> "pd.Series[float]":
    """Ratio of a layer's largest entry of the residual stream to the median of that entry's sequence."""
    entries = residual_entries(run).sort_values("size", kind="stable")
    return entries.groupby("layer")["ratio_to_median"].last()


def residual_entries(run: Measured) -> pd.DataFrame:
    """The listed entries of the residual stream with their size |x|."""
    rows = run.tables["massive"]
    rows = rows[rows["site"] == "h_out"]
    return rows.assign(size=rows["value"].abs())


def value_ratios(run: Measured) -> "pd.Series[float]":
    """Norm of the value vector at token 0 over the mean of its neighbours, by layer and key/value head."""
    values = run.tables["values"]
    zero = values[values["position"] == 0].set_index(["layer", "kv_head"])["norm"]
    neighbours = values[values["position"].between(*NEIGHBOURS)].groupby(["layer", "kv_head"])["norm"].mean()
    return zero / neighbours


def value_drain(run: Measured) -> "pd.Series[float]":
    """Mean of `value_ratios` over key/value heads."""
    return value_ratios(run).groupby("layer").mean()


def theta(run: Measured) -> "pd.Series[float]":
    """Mean theta of V-scale over key/value heads; empty without V-scale."""
    if "vscale" not in run.tables:
        return pd.Series(dtype="float64")
    return run.tables["vscale"].groupby("layer")["theta"].mean()


CURVES: dict[str, Curve] = {
    "sink_rate": lambda run: run.tables["layers"].set_index("layer")["sink_rate"],
    "alpha_max": alpha_max,
    "gradient_sink_ratio": lambda run: run.tables["layers"].set_index("layer")["gradient_sink_ratio"],
    "residual_t0": lambda run: run.norms("h_out")["t0"],
    "residual_t0_over_early": over_neighbours("h_out"),
    "abs_max": lambda run: run.residual_sites["abs_max"],
    "abs_max_over_median": abs_max_over_median,
    "value_drain": value_drain,
    "theta": theta,
}
"""The metrics of the table `track_layers`."""
