"""How a branch reshapes the gradient that passes through it (equation 8).

    Bloat    = |dL/dhn| / |dL/dr_attn|
    Change   = |dL/dh_in| / |dL/dh_half|
    Compress = |dL/dh_in - dL/dh_half| / |dL/dhn|

The numerator of Compress is the share of the gradient that came through the norm. Taken as a difference it cancels
badly in 16 bit; it is the norm's vector-Jacobian product of dL/dhn and is computed as that, in float32.
"""

import torch
from torch import Tensor


def rms_norm_vjp(grad: Tensor, x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """Vector-Jacobian product of y = gain * x / rms(x), rms(x) = sqrt(mean x^2 + eps).

    Args:
        grad: dL/dy [..., D].
        x: the norm's input [..., D].
        gain: effective gain [D].
        eps: the norm's epsilon.

    Returns:
        dL/dx through the norm, float32 [..., D].
    """
    x = x.float()
    inverse = inverse_rms(x, eps)[..., None]
    scaled = grad.float() * gain
    along = (scaled * x).mean(-1, keepdim=True) * inverse.square()
    return scaled.addcmul_(along, x, value=-1).mul_(inverse)


def inverse_rms(x: Tensor, eps: float) -> Tensor:
    """1 / rms(x) per token, float32: x [..., D] -> [...]."""
    return torch.rsqrt(x.float().square().mean(-1) + eps)


def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Elementwise quotient, null (NaN) where the denominator is 0."""
    return torch.where(denominator > 0, numerator / denominator, torch.nan)
