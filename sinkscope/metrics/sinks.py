"""Attention sinks: when a head parks its attention on one token (equation 1; Gu et al., ICLR 2025)."""

import torch
from torch import Tensor


def is_sink(alpha: Tensor, epsilon: float) -> Tensor:
    """Which heads are sinks, judged per sequence: alpha [N, H, S] -> bool [N, H, S]."""
    return alpha > epsilon


def defined_positions(tokens: int, window: int) -> int:
    """How many positions s have an alpha_s: s <= T - T_eps, and s = 0 over T rows where T < T_eps."""
    return max(tokens - window + 1, 1)


def norm_ranks(norms: Tensor, sequence: Tensor, position: Tensor) -> Tensor:
    """Ranks of some tokens' norms in their sequences, 1 the largest; equal norms share the better rank.

    Args:
        norms: token norms [N, T].
        sequence: which of the N, int64 [F].
        position: which of the T, int64 [F].

    Returns:
        int64 [F].
    """
    ascending = norms.sort(1).values[sequence]
    own = norms[sequence, position][:, None]
    no_larger = torch.searchsorted(ascending, own, right=True)[:, 0]
    return norms.shape[1] - no_larger + 1
