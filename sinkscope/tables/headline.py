"""The few numbers that a busy reader sees first, each derived from the tables."""

import math
from typing import Any

import numpy as np
import pandas as pd

EARLY = (1, 15)  # the positions that token 0 is compared with, equation (3)


def headline(tables: dict[str, pd.DataFrame], epsilon: float) -> dict[str, Any]:
    """Headline numbers of an analysis; None where something was not measured.

    Args:
        tables: the tables of `sinkscope.tables.columns`.
        epsilon: threshold on alpha_0 above which a head counts as a sink on average.
    """
    numbers = {
        **_loss(tables["sequences"]),
        **_sinks(tables["heads"], tables["layers"], epsilon),
        **_norms(tables["positions"], "h_out", "residual"),
        **_norms(tables["positions"], "r_mlp", "mlp"),
        **_norms(tables["positions"], "r_attn", "attn"),
        "value_drain": _value_drain(tables["values"]),
        **_extremes(tables["sites"], tables["massive"]),
        **_gradient_sink(tables["layers"]),
        **_gradient_shares(tables["positions"]),
        "bounds_checked": int(tables["bounds"]["checked"].sum()),
        "bound_violations": int(tables["bounds"]["violations"].sum()),
        **_mass_slope(tables["scatter"]),
        "alpha_norm_correlation_median": tables["layers"]["alpha_norm_correlation"].median(),
        **_experts(tables),
        **_learned_sinks(tables),
        **_modalities(tables),
    }
    return {name: _plain(value) for name, value in numbers.items()}


def token_zero_and_early(positions: pd.DataFrame, site: str) -> pd.DataFrame:
    """Token-0 norm, and mean and largest mean norm over positions 1..15, per layer: columns t0, early, early_max."""
    rows = positions[positions["site"] == site]
    early = rows[rows["position"].between(*EARLY)].groupby("layer")["norm"]
    zero = rows[rows["position"] == 0].set_index("layer")["norm"]
    return pd.DataFrame({"t0": zero, "early": early.mean(), "early_max": early.max()})


def _loss(sequences: pd.DataFrame) -> dict[str, Any]:
    losses = sequences.loc[sequences["metric"] == "loss", "value"]
    mean = losses.mean() if len(losses) else None
    return {"loss": mean, "perplexity": None if mean is None else math.exp(min(mean, 700.0))}


def _sinks(heads: pd.DataFrame, layers: pd.DataFrame, epsilon: float) -> dict[str, Any]:
    first = heads[heads["position"] == 0]
    strong = first[first["alpha"] > epsilon]
    return {
        "sink_rate_mean": layers["sink_rate"].mean(),
        "sink_rate_max": layers["sink_rate"].max(),
        "sink_heads": len(strong),
        "heads_total": len(first),
        "sink_layers": strong["layer"].nunique(),
    }


def _norms(positions: pd.DataFrame, site: str, name: str) -> dict[str, Any]:
    norms = token_zero_and_early(positions, site)
    ratio = norms["t0"] / norms["early"]
    return {
        f"{name}_t0_mean": norms["t0"].mean(),
        f"{name}_t0_max": norms["t0"].max(),
        f"{name}_early_mean": norms["early"].mean(),
        f"{name}_t0_over_early": norms["t0"].mean() / norms["early"].mean(),
        f"{name}_t0_over_early_max": ratio.max(),
    }


def _value_drain(values: pd.DataFrame) -> Any:
    zero = values[values["position"] == 0].set_index(["layer", "kv_head"])["norm"]
    early = values[values["position"].between(*EARLY)].groupby(["layer", "kv_head"])["norm"].mean()
    return (zero / early).mean()


def _extremes(sites: pd.DataFrame, massive: pd.DataFrame) -> dict[str, Any]:
    residual = sites[sites["site"] == "h_out"]
    largest = residual.sort_values("abs_max").iloc[-1]
    found = massive[massive["is_massive"] & (massive["site"] == "h_out")]
    return {
        "abs_max": largest["abs_max"],
        "abs_max_layer": largest["layer"],
        "abs_max_over_median": largest["abs_max"] / largest["abs_median"],
        "kurtosis_max": residual["kurtosis"].max(),
        "massive_count": len(found),
        "massive_channels": [int(c) for c in found["channel"].value_counts().index[:8]],
        "massive_first_layer": found["layer"].min() if len(found) else None,
    }


def _gradient_sink(layers: pd.DataFrame) -> dict[str, Any]:
    quartiles = layers["gradient_sink_ratio"].quantile([0.25, 0.5, 0.75])
    names = ("gradient_sink_q25", "gradient_sink_median", "gradient_sink_q75")
    return dict(zip(names, quartiles, strict=True))


def _gradient_shares(positions: pd.DataFrame) -> dict[str, Any]:
    at_zero = positions[(positions["position"] == 0) & positions["site"].isin(["q", "k", "v"])]
    norms = at_zero.pivot_table(index="layer", columns="site", values="grad_norm", dropna=False)
    shares = norms.div(norms.sum(axis=1), axis=0).mean()
    return {f"gradient_share_{site}": shares[site] for site in ("q", "k", "v")}


def _mass_slope(scatter: pd.DataFrame) -> dict[str, Any]:
    """Slope of log |dL/dv_s|^2 against log M_s^2 by least squares, equation (11).

    The 95 % interval is the normal approximation that treats the (layer, kv head, position) triples as independent.
    """
    names = ("mass_slope", "mass_slope_low", "mass_slope_high")
    pairs = scatter[(scatter["kind"] == "mass_slope") & (scatter["x"] > 0) & (scatter["y"] > 0)]
    x, y = np.log(pairs["x"].to_numpy()), np.log(pairs["y"].to_numpy())
    if len(x) < 4 or np.ptp(x) == 0:
        return dict.fromkeys(names)
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    error = 1.96 * math.sqrt(covariance[0, 0])
    return dict(zip(names, (slope, slope - error, slope + error), strict=True))


def _experts(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Super experts, and how far the tokens of later sinks, and the others, share position 0's experts."""
    names = ("experts_total", "super_experts", "sink_routing_overlap", "other_routing_overlap")
    if "experts" not in tables:
        return dict.fromkeys(names)
    routed = tables["experts"][tables["experts"]["kind"] == "routed"]
    overlap = tables["routing"].set_index("group")["overlap_first"]
    means = (overlap[overlap.index == group].mean() for group in ("sink", "other"))
    return dict(zip(names, (len(routed), int(routed["is_super"].sum()), *means), strict=True))


def _learned_sinks(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    mass = tables["learned_sinks"]["mass"] if "learned_sinks" in tables else pd.Series(dtype=float)
    return {"learned_sink_mass_mean": mass.mean(), "learned_sink_mass_max": mass.max()}


def _modalities(tables: dict[str, pd.DataFrame]) -> dict[str, Any]:
    if "modalities" not in tables:
        return dict.fromkeys(("image_sink_share", "text_sink_share"))
    shares = tables["modalities"].set_index("kind")["sink_share"]
    return {f"{kind}_sink_share": shares[shares.index == kind].mean() for kind in ("image", "text")}


def _plain(value: Any) -> Any:
    """A JSON value: NaN and missing become None, numpy scalars become Python's."""
    if isinstance(value, list) or value is None:
        return value
    if pd.isna(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
