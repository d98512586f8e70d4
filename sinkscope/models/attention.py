"""The attention tap: one capture point for every architecture that uses transformers' attention interface.

A function registered with `AttentionInterface` receives what attention really works on: q and k after the rotary
embedding and any q/k norms, kv heads not repeated, v as it is aggregated. It delegates the output to the fused kernel
and hands (q, k, v, log-sum-exp, output) to an observer. With the log-sum-exp of each row at hand, any weight is

    a[t, s] = exp(scale <q_t, k_s> - lse_t),

so no T x T map is ever needed. The registered name must not contain "sdpa" or "flex_attention", which transformers
treats specially; the mask function is registered under the same name, since without one padding and sliding windows
would be ignored.

Shapes: B sequences, H query heads, K key/value heads, T tokens, d head dimension.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

from sinkscope.errors import SinkscopeError

TAP = "sinkscope_tap"
_ROWS = 256


@dataclass(frozen=True)
class AttentionCall:
    """What one attention module worked on.

    Attributes:
        q: queries [B, H, T, d].
        k: keys [B, K, T, d].
        v: values as they are aggregated [B, K, T, d].
        v_raw: values as they were projected [B, K, T, d]; v itself where no V-scale stands between.
        lse: log-sum-exp of each row of scaled scores, float32 [B, H, T].
        y: output per head [B, T, H, d].
        scale: c, the factor on <q, k>.
        mask: which keys a query may see, bool [B, 1, T, T]; None for plain causality.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    v_raw: Tensor
    lse: Tensor
    y: Tensor
    scale: float
    mask: Tensor | None


Observer = Callable[[AttentionCall], None]
_observers: "WeakKeyDictionary[nn.Module, Observer]" = WeakKeyDictionary()


@contextmanager
def tapped(model: PreTrainedModel, observers: dict[nn.Module, Observer]) -> Iterator[None]:
    """Routes a model's attention through the tap, and back on exit.

    Args:
        model: the model.
        observers: what to call for each attention module.
    """
    before = model.config._attn_implementation
    model.set_attn_implementation(TAP)
    if model.config._attn_implementation != TAP:
        raise SinkscopeError(
            f"{type(model).__name__} does not use transformers' attention interface, so it cannot be tapped"
        )
    _observers.update(observers)
    try:
        yield
    finally:
        for module in observers:
            _observers.pop(module, None)
        model.set_attn_implementation(before)


def tapped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as the fused kernel computes it, observed on the way; transformers' attention interface."""
    if query.shape[2] != key.shape[2]:
        raise SinkscopeError("whole sequences are measured, without a cache: call the model with use_cache=False")
    if dropout:
        raise SinkscopeError("attention dropout is on: call model.eval(), or set attention_dropout to 0")
    for name in ("softcap", "s_aux", "position_bias"):
        if options.get(name) is not None:
            raise SinkscopeError(f"attention with `{name}` is not supported")
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    valve = getattr(module, "vscale", None)
    scaled = value if valve is None else valve(value)
    output, lse = attention_with_lse(query, key, scaled, attention_mask, scale)
    y = output.transpose(1, 2)
    if module in _observers:
        _observers[module](AttentionCall(query, key, scaled, value, lse, y, scale, attention_mask))
    return y.contiguous(), None


def attention_with_lse(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> tuple[Tensor, Tensor]:
    """Fused attention and the log-sum-exp of its rows.

    On a CPU the fused operator returns both. Elsewhere the log-sum-exp is computed beside it, block by block.

    Args:
        q: [B, H, T, d].
        k: [B, K, T, d].
        v: [B, K, T, d].
        mask: bool [B, 1, T, T], True where a key is seen; None for plain causality.
        scale: factor on <q, k>.

    Returns:
        The output [B, H, T, d], and the log-sum-exp, float32 [B, H, T], through which no gradient flows.
    """
    if fused_returns_lse(q):
        bias = None if mask is None else torch.zeros_like(mask, dtype=q.dtype).masked_fill_(~mask, -math.inf)
        output, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, mask is None, attn_mask=bias, scale=scale
        )
        return output, lse.detach()
    grouped = k.shape[1] != q.shape[1]
    output = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None, scale=scale, enable_gqa=grouped)
    return output, blockwise_lse(q, k, mask, scale)


def fused_returns_lse(q: Tensor) -> bool:
    """Whether the kernel for these queries returns its log-sum-exp. The operator is private, hence the check."""
    return q.device.type == "cpu" and hasattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu")


@torch.no_grad()
def blockwise_lse(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Log-sum-exp of the rows of scaled scores in float32, a block of rows at a time: [B, H, T]."""
    parts = []
    for start in range(0, q.shape[2], _ROWS):
        rows = slice(start, min(start + _ROWS, q.shape[2]))
        parts.append(scores(q, k, mask, scale, rows, slice(0, rows.stop)).logsumexp(-1))
    return torch.cat(parts, dim=-1)


@torch.no_grad()
def scores(
    q: Tensor, k: Tensor, mask: Tensor | None, scale: float, rows: slice | Tensor, columns: slice | Tensor
) -> Tensor:
    """Scaled scores of some rows and columns in float32, -inf where a key is not seen: [B, H, R, C]."""
    B, H, T, d = q.shape
    K = k.shape[1]
    q_rows = q[:, :, rows].float()
    R = q_rows.shape[2]
    k_columns = k[:, :, columns].float()
    grouped = q_rows.reshape(B, K, H // K * R, d)
    result = (grouped @ k_columns.transpose(-1, -2)).mul_(scale).view(B, H, R, -1)
    if mask is not None:
        return result.masked_fill_(~mask[:, :, rows][..., columns], -math.inf)
    position = torch.arange(T, device=q.device)
    return result.masked_fill_(position[columns] > position[rows][:, None], -math.inf)


AttentionInterface.register(TAP, tapped_attention)
AttentionMaskInterface.register(TAP, sdpa_mask)
