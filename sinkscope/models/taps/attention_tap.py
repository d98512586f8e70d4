"""The attention tap: one capture point for every architecture that uses transformers' attention interface.

A function registered with `AttentionInterface` receives what attention really works on: q and k after the rotary
embedding and any q/k norms, kv heads not repeated, v as it is aggregated. It computes the output with a fused kernel
and hands (q, k, v, log-sum-exp, output) to an observer. With the log-sum-exp of each row at hand, any weight is

    a[t, s] = exp(score(q_t, k_s) - lse_t),     score = c <q_t, k_s>, or cap tanh(c <q_t, k_s> / cap),

so no T x T map is ever needed. Where a head has a learned sink logit, lse includes it: the weights of a row then sum to
less than 1, and the rest is the sink's.

The registered name must not contain "sdpa" or "flex_attention", which transformers treats specially; a mask function of
the tap's own is registered under the same name (`taps.masks`), since without one padding and sliding windows would be
ignored. Plain causal attention stays one call of the fused kernel; everything else runs in blocks of queries
(`taps.query_blocks`). On CUDA the fused kernel's own log-sum-exp is not used but computed beside it: that path has been
run on a CPU only.

Shapes: B sequences, H query heads, K key/value heads, T tokens, d head dimension of q and k, e that of v.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel

from sinkscope.compat import fused_attention
from sinkscope.compat.attention_functions import sdpa_attention_forward
from sinkscope.compat.attention_implementation import implementations_of, switch_attention_
from sinkscope.errors import SinkscopeError
from sinkscope.models.families import FAMILIES, family_of
from sinkscope.models.shape import shape_of
from sinkscope.models.taps.edits import AttentionEdit, edit_of
from sinkscope.models.taps.masks import Mask, as_mask, lazy_mask
from sinkscope.models.taps.query_blocks import blockwise_attention, explicit_scores
from sinkscope.models.taps.redirect import check_fused, redirected

TAP = "sinkscope_tap"
_ROWS = 256


@dataclass(frozen=True)
class AttentionCall:
    """What one attention module worked on.

    Attributes:
        q: queries [B, H, T, d].
        k: keys [B, K, T, d].
        v: values as they are aggregated [B, K, T, e].
        v_raw: values as they were projected [B, K, T, e]; v itself where no V-scale stands between.
        lse: log-sum-exp of each row of scores and the sink logit, float32 [B, H, T].
        y: output per head [B, T, H, e].
        scale: c, the factor on <q, k>.
        mask: which keys a query may see; None for plain causality.
        softcap: cap, the bound that a scaled tanh puts on scores; None for none.
        sink_logits: learned logits that take part in the softmax of every row, one per query head [H]; None for none.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    v_raw: Tensor
    lse: Tensor
    y: Tensor
    scale: float
    mask: Mask | None
    softcap: float | None = None
    sink_logits: Tensor | None = None


Observer = Callable[[AttentionCall], None]
_switching = threading.Lock()
_observers: "WeakKeyDictionary[nn.Module, Observer]" = WeakKeyDictionary()


@contextmanager
def tapped(model: PreTrainedModel, observers: dict[nn.Module, Observer]) -> Iterator[None]:
    """Routes a model's attention through the tap, and back on exit.

    Args:
        model: the model.
        observers: what to call for each attention module.

    Raises:
        SinkscopeError: if the model does not use the attention interface, or goes through the tap already.
    """
    if model.config.model_type in FAMILIES and FAMILIES[model.config.model_type].intercepted:
        check_fused(model)
        kv_heads = shape_of(family_of(model), model.config).kv_heads
        with _observing(observers), redirected(list(observers), tapped_attention, kv_heads):
            yield
        return
    with _switching:
        _refuse_taken(observers)
        before = implementations_of(model)
        if not switch_attention_(model, TAP):
            raise SinkscopeError(
                f"{type(model).__name__} does not use transformers' attention interface, so it cannot be tapped"
            )
    try:
        with _observing(observers):
            yield
    finally:
        switch_attention_(model, before)


@contextmanager
def _observing(observers: dict[nn.Module, Observer]) -> Iterator[None]:
    with _switching:
        _refuse_taken(observers)
        _observers.update(observers)
    try:
        yield
    finally:
        for module in observers:
            _observers.pop(module, None)


def _refuse_taken(modules: Iterable[nn.Module]) -> None:
    if any(module in _observers for module in modules):
        raise SinkscopeError(
            "the model is being measured already: close the other Scope first, one is open on a model at a time"
        )


def tapped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Mask | Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention as the model means it, observed on the way; transformers' attention interface.

    Raises:
        SinkscopeError: for a cache, dropout, a position bias, or a measured module whose attention is not causal.
    """
    causal = is_causal if is_causal is not None else getattr(module, "is_causal", True)
    if not causal and module not in _observers:  # a vision tower, say: not measured, and computed as it would be
        if isinstance(attention_mask, Mask):
            attention_mask = attention_mask.block(slice(None), slice(None))
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **options
        )
        return plain
    if not causal:
        raise SinkscopeError("attention to later tokens is not causal, and cannot be measured")
    if query.shape[2] != key.shape[2]:
        raise SinkscopeError("whole sequences are measured, without a cache: call the model with use_cache=False")
    if dropout:
        raise SinkscopeError("attention dropout is on: call model.eval(), or set attention_dropout to 0")
    if options.get("position_bias") is not None:
        raise SinkscopeError("attention with a position bias is not supported")
    query, key, value = _under_autocast(query, key, value)
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    mask = as_mask(attention_mask)
    valve = getattr(module, "vscale", None)
    scaled = value if valve is None else valve(value)
    edit, whole = edit_of(module), scaled  # what an intervention takes away is not there to be measured either
    if edit is not None:
        mask, scaled = edit.keeps_to(mask, query.shape[2], query.device), edit.values(scaled)
    output, lse = attention_with_lse(query, key, scaled, mask, scale, softcap=softcap, sink_logits=s_aux)
    if edit is not None and edit.unweighted:
        output = _with_own_values(output, lse, query, key, whole, mask, scale, softcap, edit)
    y = output.transpose(1, 2)
    if module in _observers:
        sinks = None if s_aux is None else s_aux.detach()
        call = AttentionCall(query, key, scaled, value, lse.float(), y, scale, mask, softcap, sinks)
        _observers[module](call)
    return (y if edit is None else edit.outputs(y)).contiguous(), None


def _with_own_values(
    output: Tensor,
    lse: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask | None,
    scale: float,
    softcap: float | None,
    edit: AttentionEdit,
) -> Tensor:
    """The output with what each unweighted token gets of itself put back; later tokens get nothing of it."""
    for position in edit.unweighted:
        if position >= q.shape[2] or position in edit.valueless:
            continue
        at = slice(position, position + 1)
        weight = (explicit_scores(q, k, mask, scale, softcap, at, at) - lse[:, :, at, None]).exp()
        own = weight * v[:, :, at].repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        output = output.index_add(2, torch.tensor([position], device=q.device), own.to(output.dtype))
    return output


def _under_autocast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """What mixed precision makes of the arguments of torch's fused attention, which the tap takes the place of."""
    device = tensors[0].device.type
    if not torch.is_autocast_enabled(device):
        return tensors
    dtype = torch.get_autocast_dtype(device)
    return tuple(x if x.dtype is torch.float64 else x.to(dtype) for x in tensors)


def attention_with_lse(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask | None,
    scale: float,
    *,
    softcap: float | None = None,
    sink_logits: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attention and the log-sum-exp of its rows, in memory linear in T.

    Args:
        q: [B, H, T, d].
        k: [B, K, T, d].
        v: [B, K, T, e].
        mask: which keys a query sees; None for plain causality.
        scale: factor on <q, k>.
        softcap: bounds scores by cap tanh(score / cap).
        sink_logits: learned logits [H].

    Returns:
        The output [B, H, T, e], and the log-sum-exp, float32 [B, H, T], through which no gradient flows. A row that
        sees nothing has output 0.
    """
    plain = mask is None and softcap is None and sink_logits is None
    if softcap is None and fused_attention.available(q.device):
        # The operator wants one head dimension: zeros change no score, and their outputs are cut off again.
        size, d, e = max(q.shape[-1], v.shape[-1]), q.shape[-1], v.shape[-1]
        if d != e:
            q, k, v = F.pad(q, (0, size - d)), F.pad(k, (0, size - d)), F.pad(v, (0, size - e))
        if plain:
            output, lse = fused_attention.fused_attention(q, k, v, causal=True, scale=scale)
            lse = lse.detach()
        else:
            output, lse = blockwise_attention(q, k, v, mask, scale, sink_logits=sink_logits, fused=True)
        return output[..., :e], lse
    if plain:
        grouped = k.shape[1] != q.shape[1]
        output = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=grouped)
        return output, blockwise_lse(q, k, scale)
    return blockwise_attention(q, k, v, mask, scale, softcap=softcap, sink_logits=sink_logits, fused=False)


@torch.no_grad()
def blockwise_lse(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Log-sum-exp of the rows of plain causal scores in float32, a block of rows at a time: [B, H, T]."""
    parts = []
    for start in range(0, q.shape[2], _ROWS):
        rows = slice(start, min(start + _ROWS, q.shape[2]))
        parts.append(explicit_scores(q, k, None, scale, None, rows, slice(0, rows.stop)).logsumexp(-1))
    return torch.cat(parts, dim=-1)


@torch.no_grad()
def scores(call: AttentionCall, rows: slice | Tensor, columns: slice | Tensor) -> Tensor:
    """Scores as the softmax receives them of some rows and columns, float32 [B, H, R, C]; -inf for keys not seen."""
    return explicit_scores(call.q, call.k, call.mask, call.scale, call.softcap, rows, columns)


AttentionInterface.register(TAP, tapped_attention)
AttentionMaskInterface.register(TAP, lazy_mask)
