"""Formulas over values by layer: [b, layers] to [b], the same for measured values (b = 1) and for bootstrap draws.

A layer without a value is left out; where no layer has one, neither has the quantity.
"""

import math
import warnings
from collections.abc import Callable

import numpy as np

from sinkscope.quantities.quantity import Array, LayerValues

Formula = Callable[[LayerValues], Array]


def mean(name: str) -> Formula:
    """Mean over layers."""
    return lambda values: _mean(values.by_layer(name))


def largest(name: str) -> Formula:
    """Largest layer."""
    return lambda values: _largest(values.by_layer(name))


def quantile(name: str, share: float) -> Formula:
    """Quantile over layers, by linear interpolation."""

    def of(values: LayerValues) -> Array:
        by_layer = values.by_layer(name)
        if by_layer.size and not np.isnan(by_layer).any():  # all draws at once, and not one by one
            return np.asarray(np.quantile(by_layer, share, axis=1), dtype=float)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # all layers undefined: the result is NaN, as it should be
            return np.asarray(np.nanquantile(by_layer, share, axis=1), dtype=float)

    return of


def exponential(name: str) -> Formula:
    """Exponential of the mean, capped where a double would overflow.

    The one value of a measured run comes from the C library's exp, many draws from numpy's vectorized one, which is
    faster and on some processors differs in the last bit.
    """

    def of(values: LayerValues) -> Array:
        powers = np.minimum(_mean(values.by_layer(name)), 700.0)
        return np.array([math.exp(powers[0])]) if len(powers) == 1 else np.exp(powers)

    return of


def over_neighbours(site: str) -> Formula:
    """Ratio of the means over layers of token 0 and of its neighbours, positions 1 to 15."""
    return lambda values: _quotient(_mean(values.by_layer(f"{site}_t0")), _mean(values.by_layer(f"{site}_early")))


def largest_over_neighbours(site: str) -> Formula:
    """Largest ratio of a single layer."""
    return lambda values: _largest(_quotient(values.by_layer(f"{site}_t0"), values.by_layer(f"{site}_early")))


def _mean(values: Array) -> Array:
    known = ~np.isnan(values)
    return _quotient(np.where(known, values, 0.0).sum(1), known.sum(1))


def _largest(values: Array) -> Array:
    known = ~np.isnan(values)
    return np.where(known.any(1), np.where(known, values, -np.inf).max(1, initial=-np.inf), np.nan)


def _quotient(above: Array, below: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Array = above / below
    return quotient
