"""All reference tables of a run, with the columns of `sinkscope.tables.columns`."""

from collections.abc import Callable

import pandas as pd
from scipy.stats import spearmanr

from reference import attention, bounds, gradients, sites
from reference.eager import Measured
from sinkscope.capture.settings import Settings


def reference_tables(
    measured: Measured, settings: Settings, token: Callable[[int], str] = str
) -> dict[str, pd.DataFrame]:
    """Every table but `scatter`, which is a sample (`reference.bounds.scatter_pairs`), and `vscale`.

    Args:
        measured: the run.
        settings: what was asked for.
        token: text of a token id.
    """
    heads = attention.heads(measured, settings)
    return {
        "heads": heads,
        "layers": layers(measured, settings, heads),
        "sites": sites.sites(measured),
        "positions": sites.positions(measured, settings),
        "branches": gradients.branches(measured, settings),
        "bounds": bounds.bounds(measured, settings),
        "massive": sites.massive(measured, token),
        "massive_counts": sites.massive_counts(measured),
        "values": sites.values(measured, settings),
        "sequences": sites.sequences(measured, settings),
        "slope_sums": bounds.slope_sums(measured, settings),
        "gradient_blocks": gradients.gradient_blocks(measured, settings),
        "sinks": attention.sinks(measured, settings, token),
        "sink_norms": attention.sink_norms(measured, settings, token),
        "maps": attention.maps(measured, settings),
        "map_tokens": attention.map_tokens(measured, token),
    }


def layers(measured: Measured, settings: Settings, heads: pd.DataFrame) -> pd.DataFrame:
    """Table `layers`."""
    first = heads[heads["position"] == 0].groupby("layer")["sink_fraction"].mean()
    alpha = attention.alpha_table(measured, settings).groupby(["layer", "position"])["alpha"].mean()
    rows = []
    for i in first.index:
        ratio = gradients.gradient_sink_ratio(measured, i, settings)
        rows.append((i, first[i], ratio, _alpha_norm_correlation(measured, i, alpha[i])))
    return pd.DataFrame(rows, columns=["layer", "sink_rate", "gradient_sink_ratio", "alpha_norm_correlation"])


def _alpha_norm_correlation(measured: Measured, layer: int, alpha: "pd.Series[float]") -> float:
    """Spearman's correlation of head-averaged alpha_s with the mean |h_in_s|, over the s that have an alpha."""
    if len(alpha) < 2:
        return float("nan")
    norms = []
    for s in alpha.index:
        present = [q.layers[layer].x["h_in"][s] for q in measured.sequences if len(q) > s]
        norms.append(sum(float(x.norm()) for x in present) / len(present))
    return float(spearmanr(alpha.to_numpy(), norms).statistic)
