"""Attention in blocks of queries: masks, softcapped scores and learned sink logits in memory linear in T.

    s[t, j] = c <q_t, k_j>, softcapped: cap tanh(s / cap)
    lse_t   = log(sum over visible j of exp s[t, j] + exp sink)        a[t, j] = exp(s[t, j] - lse_t)
    y_t     = sum_j a[t, j] v_j

The forward pass keeps q, k, v, y and lse; the backward pass makes the weights of each block again from them:

    b[t, j] = <g_t, v_j>,  delta_t = <g_t, y_t>,  ds[t, j] = a[t, j] (b[t, j] - delta_t) (1 - (s / cap)^2),
    dq_t = c sum_j ds[t, j] k_j,   dk_j = c sum_t ds[t, j] q_t,   dv_j = sum_t a[t, j] g_t,
    dsink = - sum_t exp(sink - lse_t) delta_t.

On a CPU the fused operator works on every block, forward and backward: a learned sink only rescales what it returns,
since its backward makes the weights from whatever y and lse it is given. Scores with a softcap, other devices, and a
torch without that operator (`compat.fused_attention`) take the explicit products in float32. Those of other devices
than a CPU have not been run: only their arithmetic, on a CPU.

Shapes: B sequences, H query heads, K key/value heads, G = H / K, T tokens, d head dimension, e that of the values.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sinkscope.compat.fused_attention import fused_attention, fused_attention_backward
from sinkscope.models.taps.masks import Mask

_FUSED_ELEMENTS, _FUSED_ROWS = 2**22, (128, 512)
_EXPLICIT_ELEMENTS, _EXPLICIT_ROWS = 2**21, (32, 256)


def blockwise_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Mask | None,
    scale: float,
    *,
    softcap: float | None = None,
    sink_logits: Tensor | None = None,
    fused: bool,
) -> tuple[Tensor, Tensor]:
    """Attention of any kind that transformers' models use, with a graph to q, k, v and the sink logits.

    Args:
        q: [B, H, T, d].
        k: [B, K, T, d].
        v: [B, K, T, e]; e = d where `fused`.
        mask: which keys a query sees; None for plain causality.
        scale: c.
        softcap: bounds scores to (-cap, cap).
        sink_logits: a learned logit per query head that takes part in the softmax [H].
        fused: work with the CPU's fused operator, which knows no softcap.

    Returns:
        The output [B, H, T, e], and each row's log-sum-exp, float32 [B, H, T], through which no gradient flows. A row
        that sees nothing has output 0 and log-sum-exp 0.
    """
    result: tuple[Tensor, Tensor] = _Blockwise.apply(q, k, v, sink_logits, mask, scale, softcap, fused)  # type: ignore[no-untyped-call]
    return result


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        sink_logits: Tensor | None,
        mask: Mask | None,
        scale: float,
        softcap: float | None,
        fused: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.mask, ctx.scale, ctx.softcap, ctx.fused = mask, scale, softcap, fused
        sinks = None if sink_logits is None else sink_logits.detach().float()[:, None]
        if fused:
            y, lse = _fused_forward(q, k, v, mask, scale)
            if sinks is not None:
                keys, lse = lse, torch.logaddexp(lse, sinks)
                y = (y.float() * (keys - lse).exp_()[..., None]).to(y.dtype)
            lse.masked_fill_(lse == -math.inf, 0.0)
        else:
            with torch.autocast(q.device.type, enabled=False):
                y, lse = _explicit_forward(q, k, v, mask, scale, softcap, sinks)
        ctx.save_for_backward(q, k, v, y, lse, sink_logits)
        ctx.mark_non_differentiable(lse)
        return y, lse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _grad_lse: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, y, lse, sink_logits = ctx.saved_tensors
        with torch.autocast(q.device.type, enabled=False):
            if ctx.fused:
                dq, dk, dv = _fused_gradients(grad, q, k, v, y, lse, ctx.mask, ctx.scale)
            else:
                dq, dk, dv = _explicit_gradients(grad, q, k, v, y, lse, ctx.mask, ctx.scale, ctx.softcap)
            dsink = None
            if ctx.needs_input_grad[3]:
                delta = (grad.float() * y.float()).sum(-1)
                dsink = -((sink_logits.float()[:, None] - lse).exp_() * delta).sum((0, 2)).to(sink_logits.dtype)
        return dq, dk, dv, dsink, None, None, None, None


def explicit_scores(
    q: Tensor,
    k: Tensor,
    mask: Mask | None,
    scale: float,
    softcap: float | None,
    rows: slice | Tensor,
    columns: slice | Tensor,
) -> Tensor:
    """Scores of some rows and columns in float32, -inf where a key is not seen: [B, H, R, C]."""
    B, H, T, d = q.shape
    K = k.shape[1]
    q_rows = q[:, :, rows].float()
    R = q_rows.shape[2]
    grouped = q_rows.reshape(B, K, H // K * R, d)
    with torch.autocast(q.device.type, enabled=False):
        result = (grouped @ k[:, :, columns].float().transpose(-1, -2)).mul_(scale).view(B, H, R, -1)
    if softcap is not None:
        result.div_(softcap).tanh_().mul_(softcap)
    return result.masked_fill_(hidden(mask, T, rows, columns, q.device), -math.inf)


def hidden(
    mask: Mask | None, tokens: int, rows: slice | Tensor, columns: slice | Tensor, device: torch.device
) -> Tensor:
    """Which keys of a block are not seen: bool [B or 1, 1, R, C]."""
    if mask is not None:
        return ~mask.block(rows, columns).to(device)
    position = torch.arange(tokens, device=device)
    return (position[columns] > position[rows][:, None])[None, None]


def _row_blocks(tokens: int, mask: Mask | None, rows: tuple[int, int], elements: int) -> Iterator[slice]:
    """Blocks of queries, the last first: their keys become fewer, so that each block fits where the one before it was.

    Args:
        tokens: T.
        mask: a small window makes small blocks, since a large one would see many keys in vain.
        rows: fewest and most rows of a block.
        elements: rows times keys of a block, about.
    """
    least, most = rows
    if mask is not None and mask.reach is not None:
        most = min(max(least, mask.reach), most)
        keys = min(tokens, mask.reach + most)
    else:
        keys = tokens
    step = min(max(least, elements // keys), most)
    for start in reversed(range(0, tokens, step)):
        yield slice(start, min(start + step, tokens))


def _blocks(q: Tensor, mask: Mask | None) -> Iterator[tuple[slice, slice, Tensor | None]]:
    """Rows, columns and bias of each block that the fused operator works on; no bias for plain causality."""
    B, _, T, _ = q.shape
    if mask is None:
        yield slice(0, T), slice(0, T), None
        return
    for rows in _row_blocks(T, mask, _FUSED_ROWS, _FUSED_ELEMENTS // B):
        columns = slice(mask.first_key(rows), rows.stop)
        not_seen = hidden(mask, T, rows, columns, q.device)
        yield rows, columns, torch.zeros_like(not_seen, dtype=q.dtype).masked_fill_(not_seen, -math.inf)


def _fused_forward(q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp, -inf in rows that see nothing, for which the operator returns 0."""
    y, lse = _outputs(q, v)
    for rows, columns, bias in _blocks(q, mask):
        y[:, :, rows], part = fused_attention(
            q[:, :, rows], k[:, :, columns], v[:, :, columns], causal=bias is None, bias=bias, scale=scale
        )
        lse[:, :, rows] = part if bias is None else part.masked_fill_((bias == -math.inf).all(-1), -math.inf)
    return y, lse


def _outputs(q: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Room for the output [B, H, T, e], laid out as [B, T, H, e] like models want it, and the log-sum-exp [B, H, T].

    Filled block by block: small results that stay between large ones that do not would fragment the heap.
    """
    B, H, T, _ = q.shape
    return q.new_empty(B, T, H, v.shape[-1]).transpose(1, 2), q.new_empty(B, H, T, dtype=torch.float32)


def _fused_gradients(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, y: Tensor, lse: Tensor, mask: Mask | None, scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    if mask is None:
        return fused_attention_backward(grad, q, k, v, y, lse, causal=True, scale=scale)
    dq = torch.empty_like(q)
    dk, dv = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
    for rows, columns, bias in _blocks(q, mask):
        dq[:, :, rows], dk_part, dv_part = fused_attention_backward(
            grad[:, :, rows], q[:, :, rows], k[:, :, columns], v[:, :, columns], y[:, :, rows],
            lse[:, :, rows], causal=bias is None, bias=bias, scale=scale,
        )  # fmt: skip
        dk[:, :, columns] += dk_part
        dv[:, :, columns] += dv_part
    return dq, dk.to(k.dtype), dv.to(v.dtype)


def _explicit_blocks(q: Tensor, k: Tensor, mask: Mask | None) -> Iterator[tuple[slice, slice, slice, slice]]:
    """Query heads, kv heads, rows and columns of each block of explicit products, of about `_EXPLICIT_ELEMENTS`."""
    B, H, T, _ = q.shape
    G = H // k.shape[1]
    for rows in _row_blocks(T, mask, _EXPLICIT_ROWS, _EXPLICIT_ELEMENTS // (B * G)):
        columns = slice(0 if mask is None else mask.first_key(rows), rows.stop)
        elements = B * G * (rows.stop - rows.start) * (columns.stop - columns.start)
        step = max(1, _EXPLICIT_ELEMENTS // elements)
        for first in range(0, k.shape[1], step):
            heads = slice(first, min(first + step, k.shape[1]))
            yield slice(heads.start * G, heads.stop * G), heads, rows, columns


def _explicit_forward(
    q: Tensor, k: Tensor, v: Tensor, mask: Mask | None, scale: float, softcap: float | None, sinks: Tensor | None
) -> tuple[Tensor, Tensor]:
    y, lse = _outputs(q, v)
    for h, kv, rows, columns in _explicit_blocks(q, k, mask):
        a = explicit_scores(q[:, h], k[:, kv], mask, scale, softcap, rows, columns)
        total = a.logsumexp(-1)
        if sinks is not None:
            total = torch.logaddexp(total, sinks[h])
        total.masked_fill_(total == -math.inf, 0.0)
        lse[:, h, rows] = total
        a.sub_(total[..., None]).exp_()
        y[:, h, rows] = _per_group(a, v[:, kv, columns].float()).to(y.dtype)
    return y, lse


def _explicit_gradients(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    lse: Tensor,
    mask: Mask | None,
    scale: float,
    softcap: float | None,
) -> tuple[Tensor, Tensor, Tensor]:
    dq = torch.empty_like(q)
    dk, dv = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
    for h, kv, rows, columns in _explicit_blocks(q, k, mask):
        g = grad[:, h, rows].float()
        s = explicit_scores(q[:, h], k[:, kv], mask, scale, softcap, rows, columns)
        a = (s - lse[:, h, rows, None]).exp_()
        dv[:, kv, columns] += _per_group_transposed(a, g, kv)
        delta = (g * y[:, h, rows].float()).sum(-1, keepdim=True)
        ds = _per_group(g, v[:, kv, columns].float().transpose(-1, -2)).sub_(delta).mul_(a).mul_(scale)
        if softcap is not None:  # where a key is hidden s is -inf, and ds is 0 already
            ds.mul_(1 - s.masked_fill_(s == -math.inf, 0.0).div_(softcap).square_())
        dq[:, h, rows] = _per_group(ds, k[:, kv, columns].float()).to(q.dtype)
        dk[:, kv, columns] += _per_group_transposed(ds, q[:, h, rows].float(), kv)
    return dq, dk.to(k.dtype), dv.to(v.dtype)


def _per_group(x: Tensor, shared: Tensor) -> Tensor:
    """Products of x [B, H, R, C] with what the heads of a group share [B, K, C, n]: [B, H, R, n]."""
    B, H, R, C = x.shape
    K = shared.shape[1]
    return (x.reshape(B, K, H // K * R, C) @ shared).view(B, H, R, -1)


def _per_group_transposed(x: Tensor, other: Tensor, kv: slice) -> Tensor:
    """Products of x [B, H, R, C], transposed, with [B, H, R, n], summed over each group's heads: [B, K, C, n]."""
    B, H, R, C = x.shape
    K = kv.stop - kv.start
    product: Tensor = x.reshape(B, K, H // K * R, C).transpose(-1, -2) @ other.reshape(B, K, H // K * R, -1)
    return product
