"""Formulas over the tables of a run, where no resampling of sequences reaches: extremes, counts, parameters."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from sinkscope.quantities import curves
from sinkscope.quantities.measured import Measured

Formula = Callable[[Measured], Any]
CHANNELS = 8  # massive channels that are named
_PATHWAYS = ("q", "k", "v")


def sink_heads(run: Measured) -> int:
    """Heads whose mean alpha_0 exceeds the threshold."""
    return len(_strong(run))


def sink_layers(run: Measured) -> int:
    """Layers with such a head."""
    return int(_strong(run)["layer"].nunique())


def _strong(run: Measured) -> pd.DataFrame:
    return run.first_heads[run.first_heads["alpha"] > run.epsilon]


def largest_entry(column: str) -> Formula:
    """A column of `sites` where the residual stream has its largest entry; `layer` names the layer."""
    return lambda run: _largest_entry(run)[column]


def largest_entry_over_median(run: Measured) -> Any:
    """The ratio of the largest entry to the median of its own sequence and layer, as the binary test forms it."""
    return _by_size(run)["ratio_to_median"].iloc[-1]


def largest_ratio(run: Measured) -> Any:
    """The largest ratio of an entry to the median of its own sequence and layer, often not the largest entry's."""
    return _by_size(run)["ratio_to_median"].max()


def _by_size(run: Measured) -> pd.DataFrame:
    """The listed entries of the residual stream, among them the largest of every sequence and layer, by size."""
    entries = curves.residual_entries(run)
    return entries.sort_values("size", kind="stable")


def _largest_entry(run: Measured) -> "pd.Series[Any]":
    return run.residual_sites.reset_index().sort_values("abs_max").iloc[-1]


def massive_channels(run: Measured) -> list[int]:
    """The channels that hold most massive activations."""
    return [int(channel) for channel in massive(run)["channel"].value_counts().index[:CHANNELS]]


def massive_first_layer(run: Measured) -> Any:
    """The first layer with a massive activation."""
    rows = massive(run)
    return rows["layer"].min() if len(rows) else None


def massive_count(run: Measured) -> int:
    """The massive activations of the residual stream, listed or not; a run without their counts has the listed ones."""
    if "massive_counts" not in run.tables:
        return len(massive(run))
    counts = run.tables["massive_counts"]
    return int(counts.loc[counts["site"] == "h_out", "entries"].sum())


def massive(run: Measured) -> pd.DataFrame:
    """The listed massive activations of the residual stream."""
    rows = run.tables["massive"]
    return rows[rows["is_massive"] & (rows["site"] == "h_out")]


def value_drain(run: Measured) -> Any:
    """Mean of the value ratios over layers and key/value heads."""
    return curves.value_ratios(run).mean()


def gradient_share(pathway: str) -> Formula:
    """Share of a pathway in the sum of the three gradient norms at token 0, mean over layers, equation (7)."""

    def of(run: Measured) -> Any:
        positions = run.tables["positions"]
        at_zero = positions[(positions["position"] == 0) & positions["site"].isin(_PATHWAYS)]
        norms = at_zero.pivot_table(index="layer", columns="site", values="grad_norm", dropna=False)
        return norms.div(norms.sum(axis=1), axis=0).mean()[pathway]

    return of


def total(table: str, column: str) -> Formula:
    """Sum of a column."""
    return lambda run: int(run.tables[table][column].sum())


def slope_pairs(run: Measured) -> Any:
    """Pairs that the slope of equation (11) is fitted to."""
    rows = run.tables.get("slope_sums")
    return None if rows is None or rows.empty else int(rows["pairs"].sum())


def sink_norm_rank(run: Measured) -> Any:
    """Median rank of the norms of the tokens that are sinks, 1 being the largest; None without ranks or sinks."""
    if "sink_norms" not in run.tables:
        return None
    rows = run.tables["sink_norms"]
    return rows.loc[rows["heads"] > 0, "rank"].median()


def routed_experts(run: Measured) -> pd.DataFrame | None:
    """The rows of `experts` for routed experts; None without experts."""
    if "experts" not in run.tables:
        return None
    experts = run.tables["experts"]
    return experts[experts["kind"] == "routed"]


def experts_total(run: Measured) -> int | None:
    """Routed experts of all layers."""
    experts = routed_experts(run)
    return None if experts is None else len(experts)


def super_experts(run: Measured) -> int | None:
    """Routed experts whose output makes massive activations."""
    experts = routed_experts(run)
    return None if experts is None else int(experts["is_super"].sum())


def of_rows(table: str, key: str, value: str, column: str, reduction: str = "mean") -> Formula:
    """A column reduced over the rows whose key has a value; None where the run has no such table."""

    def of(run: Measured) -> Any:
        if table not in run.tables:
            return None
        rows = run.tables[table]
        return rows.loc[rows[key] == value, column].agg(reduction)

    return of


def of_column(table: str, column: str, reduction: str) -> Formula:
    """A column reduced; None where the run has no such table."""
    return lambda run: run.tables[table][column].agg(reduction) if table in run.tables else None


def alpha_max(run: Measured) -> Any:
    """Largest mean alpha_0 of a head."""
    return curves.alpha_max(run).max()
