"""What a track keeps of one checkpoint's analysis: a few numbers per layer. A metric is one entry and one function."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from sinkscope.monitoring.logged import thetas
from sinkscope.tables.headline import EARLY, token_zero_and_early
from sinkscope.tables.run_folder import Run
from sinkscope.tracking.intervals import intervals

PATHWAYS = ("q", "k", "v")

Records = dict[str, dict[str, list[Any]]]


def distilled(run: Run, step: int) -> Records:
    """The rows of a checkpoint by table and column, as JSON can hold them.

    Args:
        run: its analysis.
        step: its step.
    """
    frames = {"track": _track(run), "track_layers": _layers(run), "track_pathways": _pathways(run)}
    return {
        name: {"step": [step] * len(frame), **{str(c): frame[c].tolist() for c in frame}}
        for name, frame in frames.items()
    }


def _track(run: Run) -> pd.DataFrame:
    numbers = {k: v for k, v in run.info["headline"].items() if v is None or isinstance(v, int | float)}
    numbers |= {"alpha_max": float(alpha_max(run).max())} | thetas(run)
    limits = intervals(run)
    nothing = (float("nan"), float("nan"))
    return pd.DataFrame(
        {
            "metric": list(numbers),
            "value": pd.Series(list(numbers.values()), dtype="float64"),
            "low": [limits.get(name, nothing)[0] for name in numbers],
            "high": [limits.get(name, nothing)[1] for name in numbers],
        }
    )


def _layers(run: Run) -> pd.DataFrame:
    found = []
    for name, metric in LAYER_METRICS.items():
        values = metric(run)
        if values.empty:  # theta without V-scale
            continue
        found.append(pd.DataFrame({"layer": values.index, "metric": name, "value": values.to_numpy()}))
    return pd.concat(found)


def _pathways(run: Run) -> pd.DataFrame:
    rows = run["positions"]
    rows = rows[rows["site"].isin(PATHWAYS)]
    return rows.groupby(["site", "position"])["grad_norm"].mean().reset_index()


def alpha_max(run: Run) -> "pd.Series[float]":
    """Largest alpha_0 of a head, mean over sequences, by layer."""
    heads = run["heads"]
    return heads[heads["position"] == 0].groupby("layer")["alpha"].max()


def _residual_t0(run: Run) -> "pd.Series[float]":
    return token_zero_and_early(run["positions"], "h_out")["t0"]


def _residual_ratio(run: Run) -> "pd.Series[float]":
    norms = token_zero_and_early(run["positions"], "h_out")
    return norms["t0"] / norms["early"]


def _residual_sites(run: Run) -> pd.DataFrame:
    return run["sites"][run["sites"]["site"] == "h_out"].set_index("layer")


def _abs_max_ratio(run: Run) -> "pd.Series[float]":
    sites = _residual_sites(run)
    return sites["abs_max"] / sites["abs_median"]


def _value_drain(run: Run) -> "pd.Series[float]":
    values = run["values"]
    zero = values[values["position"] == 0].set_index(["layer", "kv_head"])["norm"]
    early = values[values["position"].between(*EARLY)].groupby(["layer", "kv_head"])["norm"].mean()
    return (zero / early).groupby("layer").mean()


def _theta(run: Run) -> "pd.Series[float]":
    if "vscale" not in run.tables:
        return pd.Series(dtype="float64")
    return run["vscale"].groupby("layer")["theta"].mean()


LAYER_METRICS: dict[str, Callable[[Run], "pd.Series[float]"]] = {
    "sink_rate": lambda run: run["layers"].set_index("layer")["sink_rate"],
    "alpha_max": alpha_max,
    "gradient_sink_ratio": lambda run: run["layers"].set_index("layer")["gradient_sink_ratio"],
    "residual_t0": _residual_t0,
    "residual_t0_over_early": _residual_ratio,
    "abs_max": lambda run: _residual_sites(run)["abs_max"],
    "abs_max_over_median": _abs_max_ratio,
    "value_drain": _value_drain,
    "theta": _theta,
}
