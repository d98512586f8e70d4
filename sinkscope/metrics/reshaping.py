"""How a branch reshapes the gradient that passes through it (equation 8).

    Bloat    = |dL/dhn| / |dL/dr_attn|
    Change   = |dL/dh_in| / |dL/dh_half|
    Compress = |dL/dh_in - dL/dh_half| / |dL/dhn|

The numerator of Compress is the share of the gradient that came through the norm. Taken as a difference it cancels
badly in 16 bit; it is the norm's vector-Jacobian product of dL/dhn and is computed as that, in float32.

LayerNorm is RMSNorm of x - mean(x) (a bias has no part in the Jacobian). Subtracting the mean is a projection P, equal
to its own transpose, so both norms share one formula: the product with P before and after, or not.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class NormAt(NamedTuple):
    """A norm as it is at one forward pass.

    Attributes:
        gain: effective gain gamma, float32 [D], or [1] where the norm has none.
        eps: the norm's epsilon.
        centered: LayerNorm, which subtracts the mean; otherwise RMSNorm.
    """

    gain: Tensor
    eps: float
    centered: bool = False


def norm_vjp(grad: Tensor, x: Tensor, norm: NormAt) -> Tensor:
    """Vector-Jacobian product of y = gain * x / rms(x), rms(x) = sqrt(mean x^2 + eps), or of that of x - mean(x).

    Args:
        grad: dL/dy [..., D].
        x: the norm's input [..., D].
        norm: the norm.

    Returns:
        dL/dx through the norm, float32 [..., D].
    """
    x = _projected(x.float(), norm)
    return _pulled_back(grad, x, _inverse_rms(x, norm), norm)


def norm_vjp_and_bound(grad: Tensor, x: Tensor, norm: NormAt) -> tuple[Tensor, Tensor]:
    """What `norm_vjp` and `norm_bound` yield; both need the root mean squares of x, which are taken once."""
    x = _projected(x.float(), norm)
    inverse = _inverse_rms(x, norm)
    return _pulled_back(grad, x, inverse, norm), norm.gain.abs().max() * inverse[..., 0]


def _pulled_back(grad: Tensor, x: Tensor, inverse: Tensor, norm: NormAt) -> Tensor:
    scaled = grad.float() * norm.gain
    along = (scaled * x).mean(-1, keepdim=True) * inverse.square()
    return _projected(scaled.addcmul_(along, x, value=-1).mul_(inverse), norm)


def norm_bound(x: Tensor, norm: NormAt) -> Tensor:
    """Bound (13) on the operator norm of a norm's Jacobian at each token, float32: x [..., D] -> [...].

    max|gain| / rms(x) for RMSNorm, max|gain| / sqrt(var(x) + eps) for LayerNorm.
    """
    x = _projected(x.float(), norm)
    return norm.gain.abs().max() * _inverse_rms(x, norm)[..., 0]


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Elementwise quotient, null (NaN) where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator, torch.nan)


def _inverse_rms(x: Tensor, norm: NormAt) -> Tensor:
    return torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.eps)


def _projected(x: Tensor, norm: NormAt) -> Tensor:
    return x - x.mean(-1, keepdim=True) if norm.centered else x
