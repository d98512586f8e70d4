"""Raw moments of a site, per token, from which norms and kurtosis follow.

The entries of a residual stream are nearly centred, so central moments taken from raw ones lose little; sums over a
token's channels run in float32, sums over tokens in float64.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Per-token sums over channels of x, x^2, x^3 and x^4, each float32 [..., T], and the largest |x| [..., T]."""

    s1: Tensor
    s2: Tensor
    s3: Tensor
    s4: Tensor
    abs_max: Tensor


_BLOCK = 2**16  # values whose temporaries stay in a CPU core's cache instead of being paged in


def token_moments(x: Tensor) -> Moments:
    """Moments over the last dimension of x [..., T, D], computed in float32."""
    rows = x.flatten(0, -2)
    block = max(1, _BLOCK // x.shape[-1]) if x.device.type == "cpu" else len(rows)
    parts = [_block_moments(part) for part in rows.split(block)]
    return Moments(*(torch.cat(moment).view(x.shape[:-1]) for moment in zip(*parts, strict=True)))


def _block_moments(x: Tensor) -> Moments:
    x = x.float()
    square = x * x
    largest = square.amax(-1).sqrt()
    s2, s4 = square.sum(-1), (square * square).sum(-1)
    return Moments(x.sum(-1), s2, square.mul_(x).sum(-1), s4, largest)


def kurtosis(count: float, sums: Tensor) -> float:
    """Pearson's kurtosis (normal: 3) with population moments.

    Args:
        count: number of values.
        sums: float64 [4], the sums of x, x^2, x^3 and x^4.

    Returns:
        E(x - mean)^4 / (E(x - mean)^2)^2; NaN for constant values.
    """
    mean, m2, m3, m4 = (sums.double() / count).tolist()
    variance = m2 - mean**2
    fourth = m4 - 4 * mean * m3 + 6 * mean**2 * m2 - 3 * mean**4
    return fourth / variance**2 if variance > 0 else float("nan")


def token_norms(x: Tensor) -> Tensor:
    """l2 norms over the last dimension, float32 (equation 3): x [..., T, D] -> [..., T]."""
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    return norms
