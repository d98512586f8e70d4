"""Bounds that theory puts on gradients, each checkable on every token (equations 11 to 13).

(12) dL/dv_s = sum_{t >= s} a[t,s] g_t is a weighted sum of the rows of G = dL/dY, so with M_s and S_s the first two
moments of the attention column, Hoelder's and Cauchy-Schwarz's inequalities give

    |dL/dv_s| <= sum_h M_s[h] * max_{h, t >= s} |g_t[h]|,
    |dL/dv_s| <= (sum_h S_s[h])^(1/2) (sum_{h, t >= s} |g_t[h]|^2)^(1/2),

h running over the query heads of the key/value head's group. (13) RMSNorm's Jacobian has operator norm at most
max|gain| / rms(x), which bounds Compress. Both hold for single sequences, not for batch sums.
"""

from typing import NamedTuple

import torch
from torch import Tensor

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4, torch.bfloat16: 2e-2, torch.float16: 2e-2}


class ValueBounds(NamedTuple):
    """Both bounds of equation (12), each [B, K, C] for K kv heads and C covered columns."""

    mass: Tensor
    moment: Tensor


def value_bounds(
    mass: Tensor, second_moment: Tensor, output_grad: Tensor, columns: Tensor, kv_heads: int
) -> ValueBounds:
    """Equation (12).

    Args:
        mass: M_s per query head [B, H, C].
        second_moment: S_s per query head [B, H, C].
        output_grad: G per query head [B, T, H, d].
        columns: the covered positions s, int64 [C].
        kv_heads: K; consecutive H / K query heads form a group.
    """
    squared = output_grad.float().square().sum(-1).transpose(1, 2).unflatten(1, (kv_heads, -1))  # [B, K, H/K, T]
    largest = _suffix_max(squared.amax(2).sqrt()).index_select(-1, columns)
    total = _suffix_sum(squared.sum(2)).index_select(-1, columns)
    group_mass = mass.unflatten(1, (kv_heads, -1)).sum(2)
    group_moment = second_moment.unflatten(1, (kv_heads, -1)).sum(2)
    return ValueBounds(group_mass * largest, (group_moment * total).sqrt())


def measured_over_bound(measured: Tensor, bound: Tensor) -> Tensor:
    """Elementwise measured / bound, float64; NaN where the bound is 0, since such pairs are left out."""
    return torch.where(bound > 0, measured.double() / bound.double(), torch.nan)


def _suffix_sum(x: Tensor) -> Tensor:
    return x.double().flip(-1).cumsum(-1).flip(-1).float()


def _suffix_max(x: Tensor) -> Tensor:
    return torch.cummax(x.flip(-1), dim=-1).values.flip(-1)
