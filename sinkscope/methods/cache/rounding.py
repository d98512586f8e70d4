"""Keys and values in few bits, after KIVI (arXiv:2402.02750): asymmetric integers under a scale and a zero per group.

    code = clamp(round((x - low) / s), 0, 2^b - 1),    x_hat = s * code + low,    s = (high - low) / (2^b - 1)

low and high are the least and the largest value of a group, and everything is float32. Outliers of keys stand in few
channels, so a group of keys is one channel of G tokens; values have none such, and a group of theirs is G channels of
one token. Where all of a group is one value, it is kept.

Shapes: B sequences, K key/value heads, S tokens, d channels.
"""

import torch
from torch import Tensor


def rounded_values(v: Tensor, bits: int, group: int) -> Tensor:
    """Values [B, K, S, d] in groups of channels, each token by itself; `group` divides d."""
    groups = v.float().unflatten(-1, (-1, group))
    return _affine(groups, bits, -1).flatten(-2).to(v.dtype)


def rounded_keys(k: Tensor, bits: int, group: int, first: int) -> Tensor:
    """Keys [B, K, S, d] in groups of tokens from `first` on, each channel by itself; those of no whole group stay."""
    whole = max(k.shape[2] - first, 0) // group * group
    if not whole:
        return k
    groups = k[:, :, first : first + whole].float().unflatten(2, (-1, group))
    middle = _affine(groups, bits, 3).flatten(2, 3).to(k.dtype)
    return torch.cat([k[:, :, :first], middle, k[:, :, first + whole :]], dim=2)


def _affine(x: Tensor, bits: int, dim: int) -> Tensor:
    most = 2**bits - 1
    low, high = x.amin(dim=dim, keepdim=True), x.amax(dim=dim, keepdim=True)
    scale = (high - low) / most
    by = torch.where(scale == 0, torch.inf, scale)
    return ((x - low) / by).round_().clamp_(0, most).mul_(scale).add_(low)
