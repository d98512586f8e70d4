"""Super experts: the few whose output makes the massive activations (Su et al., ICLR 2026, arXiv:2507.23279)."""

from typing import Any

import numpy as np
import pandas as pd

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


def forming_layers(massive: pd.DataFrame) -> set[int]:
    """Layers that form massive activations: h_out has one at a place where the layer before has none.

    Args:
        massive: the table `massive`; a place is a sequence, a position and a channel.
    """
    found = massive[massive["is_massive"] & (massive["site"] == "h_out")]
    places: dict[int, set[tuple[int, ...]]] = {}
    for layer, *place in found[["layer", "sequence", "position", "channel"]].to_numpy().tolist():
        places.setdefault(layer, set()).add(tuple(place))
    return {layer for layer, here in places.items() if here - places.get(layer - 1, set())}
