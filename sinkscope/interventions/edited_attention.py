"""Attention with something taken away: what the model calls while an attention edit lasts.

For every implementation that it can stand on there is one that reads the edits of its module (`models.taps.edits`)
and calls the plain one for what is left. No mask of T x T is made for that where the model needs none:

    hidden keys     queries, keys and values without the hidden tokens are a shorter causal sequence; the rows of
                    the hidden tokens themselves are computed one by one
    sliding cache   blocks of queries, each with the first keys and those near it

Under a cache whose positions count from its own start, a query at t >= N + K meets the first keys as if it stood at N
+ K - 1. So it is rotated by that difference for these keys alone, and the two products are one with twice the
channels:

    <[q', q], [k, 0]> = <q', k> for the first keys,   <[q', q], [0, k]> = <q, k> for the others.

Shapes: B sequences, H query heads, K key/value heads, T queries, S keys, d channels.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface

from sinkscope.compat.attention_functions import attention_function, mask_function
from sinkscope.compat.rotary import rotation_of
from sinkscope.errors import SinkscopeError
from sinkscope.models.taps.edits import EDITED, INSIDE, AttentionEdit, Passing, SlidingCache, edit_of
from sinkscope.vscale.valved_attention import WITH_VALVE, valved_fused

WITH_EDITS = {
    plain: EDITED + name
    for plain, name in (
        ("eager", "eager"),
        ("sdpa", "fused"),
        (WITH_VALVE["eager"], "vscale_eager"),
        (WITH_VALVE["sdpa"], "vscale_fused"),
    )
}
"""An implementation, and its name with edits."""

_ROWS = 256

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]  # q, k, v, mask to y [B, T, H, e]


def edited(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *, plain: str, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """Attention under the module's edits; transformers' attention interface.

    Args:
        module: the attention module.
        query: [B, H, T, d].
        key: [B, K, S, d], those of a cache included.
        value: [B, K, S, e].
        mask: of the plain implementation.
        plain: its name.
        **options: handed on.
    """
    function = attention_function(module, plain)
    edit = edit_of(module)
    if edit is None:
        return function(module, query, key, value, mask, **options)
    scaling = options.pop("scaling", None)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling

    def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        return function(module, q, k, v, seen, scaling=scale, **options)[0]

    return _edited(module, edit, attend, query, key, value, mask), None


def edited_fused(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    *,
    scaling: float | None,
    dropout: float,
    is_causal: bool,
) -> tuple[Tensor, None]:
    """The same in the place of torch's fused attention, for modules that call it themselves (`taps.redirect`)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling

    def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        causal = is_causal and seen is None and q.shape[2] > 1
        if getattr(module, "vscale", None) is not None:
            return valved_fused(module, q, k, v, seen, scaling=scale, dropout=dropout, is_causal=causal)[0]
        y = F.scaled_dot_product_attention(q, k, v, seen, dropout, causal, scale=scale, enable_gqa=True)
        return y.transpose(1, 2)

    edit = edit_of(module)
    if edit is None:
        return attend(query, key, value, mask), None
    return _edited(module, edit, attend, query, key, value, mask), None


def _edited(
    module: nn.Module, edit: AttentionEdit, attend: Attend, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None
) -> Tensor:
    passing = edit.passing or Passing()
    past = passing.past
    first = past + q.shape[2] - k.shape[2]  # position of the first key: a model's own window may have dropped some
    if edit.rounded is not None:
        return edit.rounded.attend(attend, (q, k, v), mask, past, first)
    values = edit.values(v, first)
    if edit.cache is not None and past + q.shape[2] > edit.cache.drops_from:
        y = _sliding(module, edit, attend, (q, k, values), mask, passing, first)
    else:
        y = _without(attend, (q, k, values), mask, _keys_of(edit.hidden, first, k.shape[2]))
    own = [p for p in edit.unweighted if past <= p < past + q.shape[2] and p not in edit.valueless]
    if own:  # such a token keeps what it gets of itself
        rows = [_own_row(attend, q, k, v, values, mask, p - past, p - first) for p in own]
        y = y.index_copy(1, torch.tensor([p - past for p in own], device=y.device), torch.cat(rows, dim=1))
    return edit.outputs(y)


def _keys_of(positions: tuple[int, ...], first: int, keys: int) -> list[int]:
    return [p - first for p in positions if 0 <= p - first < keys]


def _own_row(
    attend: Attend, q: Tensor, k: Tensor, v: Tensor, values: Tensor, mask: Tensor | None, row: int, key: int
) -> Tensor:
    """The row of a token that keeps its own value where all others lose it: [B, 1, H, e]."""
    mixed = torch.cat([values[:, :, :key], v[:, :, key : key + 1]], dim=2)
    seen = None if mask is None else mask[:, :, row : row + 1, : key + 1]
    return attend(q[:, :, row : row + 1], k[:, :, : key + 1], mixed, seen)


def _without(attend: Attend, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, hidden: list[int]) -> Tensor:
    """Attention in which no query but their own sees the keys `hidden`, which are sorted."""
    q, k, v = qkv
    if not hidden:
        return attend(q, k, v, mask)
    ahead = k.shape[2] - q.shape[2]  # keys before the first query
    own = [key - ahead for key in hidden if key >= ahead]
    keys, rows = _left(k.shape[2], hidden, k.device), _left(q.shape[2], own, q.device)
    parts: dict[int, Tensor] = {}
    for row in own:
        seen_keys = _left(row + ahead + 1, [key for key in hidden if key < row + ahead], k.device)
        seen = None if mask is None else _of(mask[:, :, row : row + 1], seen_keys, 3)
        parts[row] = attend(q[:, :, row : row + 1], _of(k, seen_keys, 2), _of(v, seen_keys, 2), seen)
    if len(own) == q.shape[2]:
        return torch.cat([parts[row] for row in own], dim=1)
    seen = None if mask is None else _of(_of(mask, rows, 2), keys, 3)
    rest = attend(_of(q, rows, 2), _of(k, keys, 2), _of(v, keys, 2), seen)
    pieces, taken = [], 0
    for number, row in enumerate(own):
        pieces += [rest[:, taken : row - number], parts[row]]
        taken = row - number
    return torch.cat([*pieces, rest[:, taken:]], dim=1) if own else rest


def _left(count: int, gone: list[int], device: torch.device) -> slice | Tensor:
    """What is left of 0..count-1; a slice where only the first ones are gone, which copies nothing."""
    if gone == list(range(len(gone))):
        return slice(len(gone), count)
    return torch.tensor(sorted(set(range(count)) - set(gone)), device=device)


def _of(x: Tensor, index: slice | Tensor, dim: int) -> Tensor:
    if isinstance(index, Tensor):
        return x.index_select(dim, index)
    return x.narrow(dim, index.start, index.stop - index.start)


def _sliding(
    module: nn.Module,
    edit: AttentionEdit,
    attend: Attend,
    qkv: tuple[Tensor, Tensor, Tensor],
    mask: Tensor | None,
    passing: Passing,
    first: int,
) -> Tensor:
    """Attention under a sliding cache, a block of queries at a time."""
    q, k, v = qkv
    cache = edit.cache
    assert cache is not None  # noqa: S101  (asked for one)
    past, queries = passing.past, q.shape[2]
    inside = cache.positions == INSIDE
    if inside and first > 0:
        raise SinkscopeError(
            "the model's own cache has dropped the first tokens, which positions inside a cache need: use positions "
            "as in the text"
        )
    pieces, begin = [], 0
    if past == 0 and not edit.hidden and cache.kept is None:  # nothing is dropped before the cache is full
        begin = cache.size
        seen = None if mask is None else mask[:, :, :begin, :begin]
        pieces.append(attend(q[:, :, :begin], k[:, :, :begin], v[:, :, :begin], seen))
    far_q = _as_if_inside(module, q, cache, passing) if inside else None
    for start in range(begin, queries, _ROWS):
        stop = min(start + _ROWS, queries)
        anchors = [p for p in cache.anchors if first <= p < past + stop]
        near = range(max(past + start - cache.recent + 1, first), past + stop)
        keys = torch.tensor([*anchors, *(p for p in near if p not in anchors)], device=k.device) - first
        query = torch.arange(past + start, past + stop, device=k.device)[:, None]
        position = keys[None] + first
        seen = cache.sees(query, position)
        for hidden in edit.hidden:
            seen = seen & ((position != hidden) | (query == hidden))
        seen = _on_top(seen[None, None], None if mask is None else mask[:, :, start:stop][..., keys], alone=inside)
        rows, kk, vv = q[:, :, start:stop], k.index_select(2, keys), v.index_select(2, keys)
        if far_q is None:
            pieces.append(attend(rows, kk, vv, seen))
        else:
            pieces.append(_two_products(attend, far_q[:, :, start:stop], rows, kk, vv, seen, len(anchors)))
    return torch.cat(pieces, dim=1)


def _two_products(attend: Attend, far_q: Tensor, q: Tensor, k: Tensor, v: Tensor, seen: Tensor, far: int) -> Tensor:
    """Attention in which the first `far` keys meet other queries than the rest do."""
    d, e = q.shape[-1], v.shape[-1]
    both = torch.cat([far_q, q], dim=-1)
    keys = torch.cat([F.pad(k[:, :, :far], (0, d)), F.pad(k[:, :, far:], (d, 0))], dim=2)
    values = F.pad(v, (0, 2 * d - e)) if e < 2 * d else v  # fused kernels want one size
    return attend(both, keys, values, seen)[..., :e]


def _on_top(seen: Tensor, mask: Tensor | None, *, alone: bool) -> Tensor:
    """What a cache shows, in the form of the plain implementation's mask and, unless `alone`, under it."""
    if mask is None or (alone and mask.dtype == torch.bool):
        return seen
    if mask.dtype == torch.bool:
        return seen & mask
    base = torch.zeros_like(mask) if alone else mask
    return base.masked_fill(~seen, torch.finfo(mask.dtype).min)


def _as_if_inside(module: nn.Module, q: Tensor, cache: SlidingCache, passing: Passing) -> Tensor:
    """Queries as if none stood behind the last place of the cache, for the first keys."""
    rotate, tables = rotation_of(module), passing.rotary.get(module)
    if rotate is None or tables is None:
        raise SinkscopeError(
            f"{type(module).__name__} does not rotate by position, so positions cannot count inside a cache: use "
            "positions as in the text"
        )
    (cos, sin), (capped_cos, capped_sin) = tables, passing.capped[module]
    last = cache.size - 1
    square = cos.square() + sin.square()  # 1, or the square of a factor that scales attention
    behind = (torch.arange(q.shape[2], device=q.device) + passing.past > last)[None, :, None]
    turned_cos = torch.where(behind, (capped_cos * cos + capped_sin * sin) / square, 1.0)
    turned_sin = torch.where(behind, (capped_sin * cos - capped_cos * sin) / square, 0.0)
    r = cos.shape[-1]
    turned = rotate(q[..., :r], turned_cos.to(q.dtype), turned_sin.to(q.dtype))
    return torch.cat([turned, q[..., r:]], dim=-1) if r < q.shape[-1] else turned


for _plain, _name in WITH_EDITS.items():
    AttentionInterface.register(_name, partial(edited, plain=_plain))
    AttentionMaskInterface.register(_name, mask_function(_plain))
