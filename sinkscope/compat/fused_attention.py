"""The CPU's fused attention with the log-sum-exp of its rows, forward and backward.

Needed: with the log-sum-exp at hand any attention weight is one exponential, and no T x T map is made. The public
`F.scaled_dot_product_attention` computes it on a CPU and throws it away. Its operator below, private to torch, returns
it in float32, and the backward operator makes the weights again from whatever output and log-sum-exp it is given.

Public alternative: `torch.nn.attention.flex_attention` with `return_lse=True` once it is as fast on a CPU. Where the
operators are gone, `available` is False and explicit products in float32 do the same work, slower
(`models.taps.query_blocks`).

Shapes: B sequences, H query heads, K key/value heads, T queries, S keys, d head dimension of all three.
"""

from typing import Any

import torch
from torch import Tensor

_FORWARD = "_scaled_dot_product_flash_attention_for_cpu"
_BACKWARD = "_scaled_dot_product_flash_attention_for_cpu_backward"


def available(device: torch.device) -> bool:
    """Whether torch has the operators, and for this device."""
    return device.type == "cpu" and hasattr(torch.ops.aten, _FORWARD) and hasattr(torch.ops.aten, _BACKWARD)


def fused_attention(
    q: Tensor, k: Tensor, v: Tensor, *, causal: bool, scale: float | None, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention and the log-sum-exp of its rows.

    Args:
        q: [B, H, T, d].
        k: [B, K, S, d].
        v: [B, K, S, d].
        causal: no query sees a later key.
        scale: factor on <q, k>; None for 1 / sqrt(d).
        bias: added to the scores, in the dtype of q.

    Returns:
        The output [B, H, T, d], and the log-sum-exp, float32 [B, H, T], through which no gradient flows.
    """
    operator = getattr(torch.ops.aten, _FORWARD)
    result: tuple[Tensor, Tensor] = operator(q, k, v, 0.0, causal, attn_mask=bias, scale=scale)
    return result


def fused_attention_backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    lse: Tensor,
    *,
    causal: bool,
    scale: float | None,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients at q, k and v, where `grad` is that at the output `y`."""
    operator = getattr(torch.ops.aten, _BACKWARD)
    result: tuple[Tensor, Tensor, Tensor] = operator(grad, q, k, v, y, lse, 0.0, causal, attn_mask=bias, scale=scale)
    return result


def is_fused_attention(operator: Any) -> bool:
    """Whether an operator, as a dispatch mode sees it, is the forward one."""
    return operator is getattr(torch.ops.aten, _FORWARD).default
