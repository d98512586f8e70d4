"""Attention sinks: when a head parks its attention on one token (equation 1; Gu et al., ICLR 2025)."""

from torch import Tensor


def is_sink(alpha: Tensor, epsilon: float) -> Tensor:
    """Which heads are sinks, judged per sequence: alpha [N, H, S] -> bool [N, H, S]."""
    return alpha > epsilon


def defined_positions(tokens: int, window: int) -> int:
    """How many positions s have an alpha_s: s <= T - T_eps, and s = 0 over T rows where T < T_eps."""
    return max(tokens - window + 1, 1)
