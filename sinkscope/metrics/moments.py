"""Raw moments of a site, from which norms and kurtosis follow.

The entries of a residual stream are nearly centred, so central moments taken from raw ones lose little. Sums run in
float32 over a block of values and in float64 over blocks; on a CPU a block's temporaries stay in the cache.
"""

from typing import NamedTuple

import torch
from torch import Tensor

_CPU_BLOCK, _GPU_BLOCK = 2**17, 2**24


class Moments(NamedTuple):
    """What one pass over activations [..., T, D] yields.

    Attributes:
        squared_norms: sum over channels of x^2, float32 [..., T].
        largest_squares: largest x^2 per token, float32 [..., T].
        power_sums: sums over everything of x, x^2, x^3 and x^4, float64 [4].
    """

    squared_norms: Tensor
    largest_squares: Tensor
    power_sums: Tensor

    @property
    def abs_max(self) -> Tensor:
        """Largest |x| per token, float32 [..., T]."""
        return self.largest_squares.sqrt()


def token_moments(x: Tensor) -> Moments:
    """Moments of x [..., T, D], computed in float32."""
    rows = x.flatten(0, -2)
    block = max(1, (_CPU_BLOCK if x.device.type == "cpu" else _GPU_BLOCK) // x.shape[-1])
    if len(rows) <= block:
        norms, maxima, powers = _block_moments(rows)
        return Moments(norms.view(x.shape[:-1]), maxima.view(x.shape[:-1]), torch.stack(powers).double())
    squared, largest, sums = zip(*(_block_moments(part) for part in rows.split(block)), strict=True)
    power_sums = torch.stack([power for block in sums for power in block]).double().view(-1, 4).sum(0)
    return Moments(torch.cat(squared).view(x.shape[:-1]), torch.cat(largest).view(x.shape[:-1]), power_sums)


def _block_moments(x: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """Per token the sum and the maximum of squares, and the four power sums as 0-d tensors."""
    x = x.float()
    square = x * x
    norms = square.sum(-1)
    flat, flat_square = x.flatten(), square.flatten()
    return norms, square.amax(-1), (flat.sum(), norms.sum(), flat_square.dot(flat), flat_square.dot(flat_square))


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
    if x.dtype is torch.float64:  # which torch refuses to narrow on the way
        x = x.float()
    norms: Tensor = torch.linalg.vector_norm(x, dim=-1, dtype=torch.float32)
    return norms
