"""How far headline numbers would move on other text of the same kind: a bootstrap over the run's sequences.

Sequences are drawn with replacement, as many as there are, and each number is computed anew from the per-sequence
values that a run keeps. Gradients are sums over sequences, so R_GS is recomputed from the inner products of the sums
over blocks of sequences: |sum of w_i g_i|^2 = sum of w_i w_j <g_i, g_j>, which is exact. Reported are the 2.5 % and
97.5 % quantiles.

Checkpoints are measured on the same windows with the same draws, so differences between them are surer than the
intervals of each suggest.
"""

from typing import Any

import numpy as np
import pandas as pd

DRAWS, SEED = 400, 0
_BRANCHES = {"residual": "h_out", "mlp": "r_mlp", "attn": "r_attn"}

Array = np.ndarray[Any, np.dtype[np.float64]]


def intervals(tables: dict[str, pd.DataFrame]) -> dict[str, tuple[float, float]]:
    """95 % intervals of headline numbers of an analysis; numbers that resampling does not reach are absent."""
    drawn = _from_sequences(tables["sequences"]) | _from_gradients(tables["gradient_blocks"])
    return {name: _limits(values) for name, values in drawn.items()}


def _limits(values: Array) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _weights(count: int) -> Array:
    """How often each of `count` units is drawn: [DRAWS, count]."""
    random = np.random.default_rng(SEED)
    return random.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)


def _from_sequences(sequences: pd.DataFrame) -> dict[str, Array]:
    count = sequences["sequence"].nunique()
    if count < 2:
        return {}
    share = _weights(count) / count

    def means(metric: str) -> Array:
        """The metric's means over drawn sequences: [DRAWS, layers], or [DRAWS, 1] where it has no layers."""
        rows = sequences[sequences["metric"] == metric].sort_values(["layer", "sequence"])
        result: Array = share @ rows["value"].to_numpy(dtype=np.float64).reshape(-1, count).T
        return result

    kept = set(sequences["metric"])
    rates = means("sink_rate")
    found = {"sink_rate_mean": rates.mean(1), "sink_rate_max": rates.max(1)}
    if "loss" in kept:  # not in a run of the caller's own passes
        loss = means("loss")[:, 0]
        found |= {"loss": loss, "perplexity": np.exp(np.minimum(loss, 700.0))}
    for name, site in _BRANCHES.items():
        if f"{site}_t0" not in kept:
            continue
        zero, early = means(f"{site}_t0"), means(f"{site}_early")
        found |= {
            f"{name}_t0_mean": zero.mean(1),
            f"{name}_t0_max": zero.max(1),
            f"{name}_early_mean": early.mean(1),
            f"{name}_t0_over_early": zero.mean(1) / early.mean(1),
            f"{name}_t0_over_early_max": (zero / early).max(1),
        }
    return found


def _from_gradients(blocks: pd.DataFrame) -> dict[str, Array]:
    if blocks.empty or blocks["block_i"].nunique() < 2:
        return {}
    weights = _weights(blocks["block_i"].nunique())
    ratios = np.stack([_drawn_ratio(of_layer, weights) for _, of_layer in blocks.groupby("layer")], axis=1)
    if np.isnan(ratios).all(axis=1).any():
        return {}
    low, middle, high = np.nanquantile(ratios, (0.25, 0.5, 0.75), axis=1)
    return {"gradient_sink_q25": low, "gradient_sink_median": middle, "gradient_sink_q75": high}


def _drawn_ratio(of_layer: pd.DataFrame, weights: Array) -> Array:
    """R_GS(0) of one layer, equation (6), for every draw of blocks: [DRAWS]; NaN where the gradients vanish."""
    positions, count = int(of_layer["position"].max()) + 1, weights.shape[1]
    dots = np.zeros((positions, count, count))
    where = (of_layer["position"], of_layer["block_i"], of_layer["block_j"])
    dots[where] = of_layer["dot"]
    dots[where[0], where[2], where[1]] = of_layer["dot"]
    squared = np.einsum("wi,pij,wj->wp", weights, dots, weights, optimize=True)
    norms = np.sqrt(squared.clip(min=0))
    early = norms[:, 1:].mean(1) if positions > 1 else np.zeros(len(norms))
    ratio: Array = np.divide(norms[:, 0], early, out=np.full(len(norms), np.nan), where=early > 0)
    return ratio
