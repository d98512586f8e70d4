"""Exact medians of large tensors, cheaply.

The median of |x| is needed for every site of every layer and sequence, and selecting it with a sort or a plain
quick-select would cost more than the forward pass it describes. Following Floyd and Rivest (1975), a strided sample
brackets the median; one pass counts what lies below the bracket, and only the few elements inside it are selected
from. Where the bracket misses, the plain selection runs: the result is exact either way. On a CPU numpy does the
passes, since its comparisons and compressions are several times faster than torch's there.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

_SAMPLE = 4096
_SIGMAS = 4.0


def lower_median(x: Tensor) -> Tensor:
    """Median of all elements, the lower of the two middle ones for an even count (`torch.median`'s convention).

    Args:
        x: float32, any shape, at least one element, no NaN.

    Returns:
        A 0-d tensor.
    """
    if x.numel() <= 8 * _SAMPLE or x.device.type != "cpu":
        return x.median()
    values = x.flatten().numpy()
    found = _bracketed(values, (values.size - 1) // 2)
    return x.median() if found is None else torch.tensor(found)


def _bracketed(values: "np.ndarray[Any, np.dtype[np.float32]]", rank: int) -> float | None:
    """The element of the given rank near the middle, or None where the sample's bracket misses it."""
    sample = np.sort(values[:: values.size // _SAMPLE | 1])
    # The sample's quantile at 1/2 has a standard deviation of 1/(2 sqrt m): four of them on either side.
    margin = math.ceil(_SIGMAS * math.sqrt(sample.size) / 2)
    low, high = sample[sample.size // 2 - margin], sample[sample.size // 2 + margin]
    above = values >= low
    below = values.size - np.count_nonzero(above)
    # numpy takes a few indices much faster than it filters by a mask.
    inside = values[np.flatnonzero(above & (values <= high))]
    if not 0 <= rank - below < inside.size:
        return None
    return float(np.partition(inside, rank - below)[rank - below])


def spearman(x: Tensor, y: Tensor) -> float:
    """Spearman's rank correlation of two vectors [N], ties sharing their mean rank; NaN where it is undefined."""
    if x.numel() < 2:
        return math.nan
    rank_x, rank_y = _mean_ranks(x), _mean_ranks(y)
    rank_x, rank_y = rank_x - rank_x.mean(), rank_y - rank_y.mean()
    scale = torch.sqrt((rank_x**2).sum() * (rank_y**2).sum())
    return float((rank_x * rank_y).sum() / scale) if scale > 0 else math.nan


def _mean_ranks(x: Tensor) -> Tensor:
    """Ranks from 0, tied values sharing their mean, float64 [N]."""
    _, group, sizes = torch.unique(x.double(), sorted=True, return_inverse=True, return_counts=True)
    middle: Tensor = sizes.cumsum(0).double() - (sizes.double() + 1) / 2
    return middle[group]
