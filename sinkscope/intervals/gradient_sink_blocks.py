"""Gradient-sink ratios of resampled blocks of sequences, exactly, from the blocks' inner products.

The gradient of a draw is a weighted sum of block gradients, sum_k m_k g_k, so its squared norm at a position is m' D m
with D[k, j] = <g_k, g_j>: no gradient vector is needed any more.

One correction is needed. The multiplicities m_k have mean 1 and covariance [k = j] - 1/K, so over draws

    E |sum_k m_k g_k|^2  =  (1 - 1/K) |sum_k g_k|^2  +  sum_k |g_k|^2,

which exceeds |sum_k g_k|^2: where the blocks' gradients do not point the same way, drawing a block twice adds noise
that the run itself does not have. Ordinary tokens are of that kind and sinks less so, hence plain draws of R_GS lie
well below the measured ratio, and their percentiles often do not even contain it. Each squared norm is therefore
divided by its own excess, known exactly from the same inner products.
"""

import numpy as np
import pandas as pd

from sinkscope.intervals.draws import Array


def block_products(gradient_blocks: pd.DataFrame, layers: int) -> Array:
    """D: inner products [layer, position, block, block]; NaN where a layer or position has none.

    Args:
        gradient_blocks: the table of a run.
        layers: number of decoder layers.
    """
    if gradient_blocks.empty:
        return np.full((layers, 1, 1, 1), np.nan)
    layer, position, i, j = (gradient_blocks[name] for name in ("layer", "position", "block_i", "block_j"))
    products = np.full((layers, position.max() + 1, j.max() + 1, j.max() + 1), np.nan)
    products[layer, position, i, j] = products[layer, position, j, i] = gradient_blocks["dot"]
    return products


def ratios(products: Array, weights: Array | None = None) -> Array:
    """R_GS at position 0 of every layer, equation (6), under each row of block multiplicities: [b, layers].

    Args:
        products: D of `block_products`.
        weights: multiplicities [b, blocks], whose norms are corrected for their excess; None takes every block once and
            corrects nothing: the measured ratio.
    """
    by_layer = [_ratio(layer, weights) for layer in products]  # a layer at a time, as norms are [b, positions] for each
    return np.stack(by_layer, axis=1)


def squared_norms(products: Array, weights: Array) -> Array:
    """Squared norms of weighted sums of block gradients, exactly.

    Args:
        products: D of one layer, [positions, blocks, blocks].
        weights: multiplicities [b, blocks].

    Returns:
        |sum_k m_k g_k|^2 by draw and position, [b, positions].
    """
    return np.stack([((weights @ of_position) * weights).sum(1) for of_position in products], axis=1)


def excess(products: Array) -> Array:
    """E |sum_k m_k g_k|^2 over draws, as a multiple of |sum_k g_k|^2, by position; 1 where all gradients are 0."""
    whole, blocks = products.sum((1, 2)), products.shape[1]
    expected = (1 - 1 / blocks) * whole + np.trace(products, axis1=1, axis2=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, expected / whole, 1.0)


def _ratio(products: Array, weights: Array | None) -> Array:
    if weights is None:
        squared = squared_norms(products, np.ones((1, products.shape[1])))
    else:
        squared = squared_norms(products, weights) / excess(products)
    norms = np.sqrt(np.maximum(squared, 0))
    if norms.shape[1] < 2:
        return np.full(len(norms), np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Array = norms[:, 0] / norms[:, 1:].mean(1)
    return np.where(np.isfinite(ratio), ratio, np.nan)
