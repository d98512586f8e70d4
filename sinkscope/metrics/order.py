"""Exact medians of large tensors, cheaply.

The median of |x| is needed for every site of every layer and sequence, and selecting it with a sort or a plain
quick-select would cost more than the forward pass it describes. Following Floyd and Rivest (1975), a strided sample
brackets the median; one pass counts what lies below the bracket, and only the few elements inside it are selected
from. Where the bracket misses, the plain selection runs: the result is exact either way. On a CPU numpy does the pass,
since its comparisons and compressions are several times faster than torch's there, and does it block by block, so that
what it makes on the way stays in the cache. Up to half a million values are selected from as they are, by numpy too:
one call with vector instructions is quicker than the twenty that the bracket takes.
"""

import math

import numpy as np
import torch
from torch import Tensor

SAMPLE = 2**14
_SIGMAS = 3.0
_BLOCK = 2**16
WHOLE = 2**19  # the most values that are selected from as they are


def median_magnitude(x: Tensor) -> Tensor:
    """Median of |x| over all elements, the lower of the two middle ones for an even count (as `torch.median`).

    Args:
        x: any shape, at least one element, no NaN.

    Returns:
        A float32 0-d tensor.
    """
    rank = (x.numel() - 1) // 2
    if x.device.type == "cpu" and x.numel() <= WHOLE:
        magnitudes = np.abs(x.detach().flatten().float().numpy())
        magnitudes.partition(rank)
        return torch.tensor(magnitudes[rank], dtype=torch.float32)
    if x.device.type == "cpu":
        median = _bracketed(x.flatten(), rank)
        if median is not None:
            return torch.tensor(median, dtype=torch.float32)
    return x.abs().float().median()


def _bracketed(x: Tensor, rank: int) -> float | None:
    """The magnitude of the given rank near the middle, or None where the sample's bracket misses it."""
    sample = np.sort(np.abs(x[:: x.numel() // SAMPLE | 1].float().numpy()))
    # The sample's quantile at 1/2 has a standard deviation of 1/(2 sqrt m): three of them on either side. A miss, once
    # in 400 times, costs less than what a wider bracket would hold always.
    margin = math.ceil(_SIGMAS * math.sqrt(sample.size) / 2)
    low, high = sample[sample.size // 2 - margin], sample[sample.size // 2 + margin]
    below, inside = 0, []
    buffer = np.empty(_BLOCK, np.float32)
    for part in x.split(_BLOCK):
        values = np.abs(part.float().numpy(), out=buffer[: part.numel()])
        kept = values >= low
        below += values.size - np.count_nonzero(kept)
        kept &= values <= high
        # numpy takes a few indices much faster than it filters by a mask.
        inside.append(values[np.flatnonzero(kept)])
    candidates = np.concatenate(inside)
    if not 0 <= rank - below < candidates.size:
        return None
    return float(np.partition(candidates, rank - below)[rank - below])


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
