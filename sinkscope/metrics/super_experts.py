"""Super experts: the few whose output makes the massive activations (Su et al., ICLR 2026, arXiv:2507.23279)."""

from typing import Any

import numpy as np

PERCENTILE = 99.5
OF_LARGEST = 0.1

Array = np.ndarray[Any, np.dtype[Any]]


def super_experts(peaks: Array, forming: Array) -> Array:
    """Which experts are super experts.

    With a[l,e] the largest |x| that the down projection of expert e of layer l puts out, an expert is one where
    a[l,e] lies above the 99.5th percentile of all a, above a tenth of the largest, and its layer forms massive
    activations.

    Args:
        peaks: a of the routed experts, float [layers, experts]; NaN for experts that were given no token.
        forming: whether each layer forms massive activations, bool [layers].

    Returns:
        bool [layers, experts].
    """
    if np.isnan(peaks).all():
        return np.zeros(peaks.shape, dtype=bool)
    high = (peaks > np.nanpercentile(peaks, PERCENTILE)) & (peaks > OF_LARGEST * np.nanmax(peaks))
    result: Array = high & forming[:, None]
    return result
