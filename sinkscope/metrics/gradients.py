"""Gradient sinks: how much more gradient the first token collects than its neighbours (equation 6)."""

import math

import torch
from torch import Tensor


def gradient_sink_ratio(norms: Tensor, early: int, sink: int = 0) -> float:
    """R_GS(s; T_e) of equation (6).

    Args:
        norms: token-wise l2 norms of the batch-summed gradient at hn, [T].
        early: T_e, the last position of the comparison window.
        sink: s.

    Returns:
        norms[s] over the mean of norms[t] for t in 0..T_e, t != s; NaN where nothing stands in the denominator.
    """
    window = norms[: early + 1].double()
    others = torch.cat([window[:sink], window[sink + 1 :]])
    mean = float(others.mean()) if others.numel() else 0.0
    return float(norms[sink]) / mean if mean > 0 else math.nan
