"""The slope of value gradients on column mass, equation (11): least squares through the pairs of all layers.

The pairs are x = ln M_s^2 and y = ln |dL/dv_s|^2 of every layer, kv head, early position and sequence. Six sums of
them are kept by layer and sequence in the table `slope_sums`, and means over sequences of these sums give
the same line, as measured and under any draw of sequences.
"""

import numpy as np

from sinkscope.quantities.measured import SLOPE, SLOPE_SUMS
from sinkscope.quantities.quantity import Array, LayerValues

_FEWEST = 4  # pairs


def slope(values: LayerValues) -> Array:
    """The slope: covariance of x and y over the variance of x."""
    _, xx, xy, _ = _moments(values)
    return _quotient(xy, xx)


def r_squared(values: LayerValues) -> Array:
    """The share of the variance of y that the line explains."""
    _, xx, xy, yy = _moments(values)
    return _quotient(xy**2, xx * yy)


def _moments(values: LayerValues) -> tuple[Array, Array, Array, Array]:
    """Pairs per sequence, and centred sums of x^2, x y and y^2, by draw [b]; NaN where they cannot be had."""
    pairs, x, y, xx, xy, yy = (_sum(values.by_layer(f"{SLOPE}{name}")) for name in SLOPE_SUMS)
    pairs = np.where(pairs >= _FEWEST, pairs, np.nan)
    with np.errstate(invalid="ignore"):
        centred = xx - x * x / pairs, xy - x * y / pairs, yy - y * y / pairs
    flat = centred[0] <= 1e-12 * xx  # one and the same mass everywhere
    return pairs, np.where(flat, np.nan, centred[0]), *centred[1:]


def _sum(values: Array) -> Array:
    """Sum over the layers that have a value; NaN where none has."""
    known = np.isfinite(values)
    return np.where(known.any(1), np.where(known, values, 0.0).sum(1), np.nan)


def _quotient(above: Array, below: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Array = above / below
    return np.where(np.isfinite(quotient), quotient, np.nan)
