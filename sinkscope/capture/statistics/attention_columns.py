"""Statistics of attention columns without a T x T map (equations 1 and 2).

Every weight follows from q, k and the row's log-sum-exp, so a column costs O(T d) and a band O(T T_eps d). Never more
than a block of rows is held.

Shapes: N sequences of T tokens each (no padding among them), H query heads, C columns.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sinkscope.metrics.sinks import defined_positions
from sinkscope.models.taps.attention_tap import AttentionCall, scores

_BLOCK_ELEMENTS = 2**21
_BLOCK_ROWS, _POOLED_ELEMENTS = 64, 2**18
_CHUNK_ELEMENTS, _BAND_ROWS = 2**17, 32
_TILE_ROWS, _TILE_KEYS = 64, 256


class ColumnSums(NamedTuple):
    """M_s and S_s of some columns, each float32 [N, H, C]."""

    mass: Tensor
    second_moment: Tensor


def weights(call: AttentionCall, rows: slice | Tensor, columns: slice | Tensor) -> Tensor:
    """Attention weights a[t, s] of some rows and columns, float32 [N, H, R, C]."""
    return scores(call, rows, columns).sub_(call.lse[:, :, rows][..., None]).exp_()


def cut(call: AttentionCall, sequence: int, start: int, stop: int) -> AttentionCall:
    """One sequence's tokens start..stop-1 out of a padded batch, as a call with N = 1."""
    one, span = slice(sequence, sequence + 1), slice(start, stop)
    mask = None if call.mask is None else call.mask.cut(sequence, start, stop)
    return replace(
        call, q=call.q[one, :, span], k=call.k[one, :, span], v=call.v[one, :, span], v_raw=call.v_raw[one, :, span],
        lse=call.lse[one, :, span], y=call.y[one, span], mask=mask,
    )  # fmt: skip


def one_head(call: AttentionCall, sequence: int, head: int) -> AttentionCall:
    """One query head of one sequence, as a call with N = H = K = 1."""
    kv = head // (call.q.shape[1] // call.k.shape[1])
    one, h, g = slice(sequence, sequence + 1), slice(head, head + 1), slice(kv, kv + 1)
    mask = None if call.mask is None else call.mask.cut(sequence, 0, call.q.shape[2])
    sinks = None if call.sink_logits is None else call.sink_logits[h]
    return replace(
        call, q=call.q[one, h], k=call.k[one, g], v=call.v[one, g], v_raw=call.v_raw[one, g],
        lse=call.lse[one, h], y=call.y[one, :, h], mask=mask, sink_logits=sinks,
    )  # fmt: skip


def alpha(call: AttentionCall, window: int) -> Tensor:
    """Equation (1) at every position where it is defined.

    Only the band t - s < T_eps is computed, in blocks of rows.

    Args:
        call: the attention call.
        window: T_eps.

    Returns:
        alpha_s, float32 [N, H, S], S = max(T - T_eps + 1, 1).
    """
    T = call.q.shape[2]
    if window > T:
        return weights(call, slice(0, T), slice(0, 1)).mean(2)
    sums = _plain_band(call, window) if call.mask is None else _masked_band(call, window)
    return sums[:, :, : defined_positions(T, window)] / window


def _masked_band(call: AttentionCall, window: int) -> Tensor:
    """Sums over the queries t of a[t, s], t - s < T_eps: float32 [N, H, T]."""
    N, H, T, _ = call.q.shape
    sums = call.lse.new_zeros(N, H, T)
    position = torch.arange(T, device=call.q.device)
    block = max(window, 128)
    for start in range(0, T, block):
        rows = slice(start, min(start + block, T))
        columns = slice(max(0, start - window + 1, _first_key(call, rows)), rows.stop)
        band = weights(call, rows, columns)
        outside = position[rows][:, None] - position[columns] >= window
        sums[:, :, columns] += band.masked_fill_(outside, 0.0).sum(2)
    return sums


def _plain_band(call: AttentionCall, window: int) -> Tensor:
    """The same under plain causality, as one batched product of many small blocks per diagonal of blocks.

    Tokens are cut into blocks of r. Queries of block b reach into key blocks b, b-1, ..., of which only the first and
    the last are partly outside the band. Zeros stand in for keys before the first one; what falls on them is dropped.
    """
    N, H, T, d = call.q.shape
    K, G = call.k.shape[1], H // call.k.shape[1]
    r = min(max(_BAND_ROWS, window // 4), 256)
    behind, count = -(-(window - 1) // r), -(-T // r)  # key blocks before a query's own, blocks of queries
    missing = count * r - T
    # Blocks come first, so that any range of them is one piece of memory.
    padded_q, padded_k = (functional.pad(x, (0, 0, 0, missing)) if missing else x for x in (call.q, call.k))
    by_block = padded_q.float().unflatten(2, (count, r)).unflatten(1, (K, G)).permute(3, 0, 1, 2, 4, 5)
    q = torch.mul(by_block, call.scale, out=call.lse.new_empty(by_block.shape)).flatten(3, 4)
    k = call.lse.new_zeros(behind + count, N, K, r, d)
    k[behind:] = padded_k.unflatten(2, (count, r)).permute(2, 0, 1, 3, 4)
    lse = functional.pad(call.lse, (0, missing), value=math.inf)  # rows after the last have no weight
    lse = lse.view(N, K, G, count, r).permute(3, 0, 1, 2, 4).contiguous()[..., None]
    sums = call.lse.new_zeros(behind + count, N, K, G, r)
    chunk = max(1, _CHUNK_ELEMENTS // (N * H * r * r))
    for first in range(0, count, chunk):
        blocks = slice(first, min(first + chunk, count))
        for back in range(behind + 1):
            keys = slice(behind - back + blocks.start, behind - back + blocks.stop)
            with torch.autocast(q.device.type, enabled=False):
                a = (q[blocks] @ k[keys].transpose(-1, -2)).unflatten(3, (G, r))
            if call.softcap is not None:
                a.div_(call.softcap).tanh_().mul_(call.softcap)
            a.sub_(lse[blocks]).exp_()
            if back == 0:
                a.tril_()  # no later key
            if back * r + r > window:
                a.triu_(back * r - window + 1)  # none at a distance of T_eps or more
            sums[keys] += a.sum(-2)
    return sums.permute(1, 2, 3, 0, 4).reshape(N, H, -1)[:, :, behind * r : behind * r + T]


def column_sums(call: AttentionCall, columns: Tensor) -> ColumnSums:
    """Equation (2) for some columns, in blocks of rows.

    Args:
        call: the attention call.
        columns: positions s, int64 [C], ascending.
    """
    N, H, T, _ = call.q.shape
    mass = call.lse.new_zeros(N, H, len(columns))
    second = torch.zeros_like(mass)
    positions = columns.tolist()
    for rows in _row_blocks(T, N * H * len(columns)):
        first, stop = bisect_left(positions, _first_key(call, rows)), bisect_left(positions, rows.stop)
        if first < stop:
            a = weights(call, rows, columns[first:stop])
            mass[..., first:stop] += a.sum(2)
            second[..., first:stop] += a.square_().sum(2)
    return ColumnSums(mass, second)


def every_column(call: AttentionCall) -> ColumnSums:
    """Equation (2) for all T columns.

    Under plain causality the triangle of weights is made tile by tile, each small enough for a CPU's cache and none
    above the diagonal. That is two of the three costs of the attention itself, so less than to run it again.
    """
    N, H, T, _ = call.q.shape
    if call.mask is not None:
        return column_sums(call, torch.arange(T, device=call.q.device))
    mass = call.lse.new_zeros(N, call.k.shape[1], H // call.k.shape[1], T)
    second = torch.zeros_like(mass)
    on_cpu = call.q.device.type == "cpu"  # elsewhere few large pieces of work are better
    rows, keys = (_TILE_ROWS, _TILE_KEYS) if on_cpu else (max(1, 4 * _BLOCK_ELEMENTS // (N * H * T)), T)
    for n in range(N) if on_cpu else [slice(None)]:
        _add_triangle(call, n if isinstance(n, slice) else slice(n, n + 1), rows, keys, mass, second)
    return ColumnSums(mass.flatten(1, 2), second.flatten(1, 2))


def _add_triangle(call: AttentionCall, n: slice, rows: int, keys: int, mass: Tensor, second: Tensor) -> None:
    """Adds the weights of some sequences, and their squares, to column sums [N, K, G, T], in tiles of rows x keys."""
    K, G, T = mass.shape[1:]
    q = call.q[n].float().mul(call.scale).unflatten(1, (K, G))
    k = call.k[n].float().transpose(-1, -2)
    lse = call.lse[n].unflatten(1, (K, G))[..., None]
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        queries = q[:, :, :, start:stop].flatten(2, 3)
        for first in range(0, stop, keys):
            last = min(first + keys, stop)
            with torch.autocast(q.device.type, enabled=False):
                a = (queries @ k[..., first:last]).unflatten(2, (G, stop - start))
            if call.softcap is not None:
                a.div_(call.softcap).tanh_().mul_(call.softcap)
            a.sub_(lse[:, :, :, start:stop]).exp_()
            if last > start:
                a.tril_(start - first)
            mass[n, ..., first:last] += a.sum(3)
            second[n, ..., first:last] += a.square_().sum(3)


def window_map(call: AttentionCall, size: int) -> Tensor:
    """The first `size` x `size` weights of a call with one head: float32 [R, R]."""
    first = slice(0, min(size, call.q.shape[2]))
    return weights(call, first, first)[0, 0]


def pooled_map(call: AttentionCall, cells: int, queries_per_cell: int) -> Tensor:
    """The whole map of a call with one head, pooled to cells.

    A cell holds the mean, over evenly spaced queries of the row cell, of the weight on all keys of the column cell, so
    that rows sum to 1 and the cost is linear in T. Token t belongs to cell floor(t * cells / T).

    Returns:
        float32 [R, R], R = min(cells, T).
    """
    T = call.q.shape[2]
    cells = min(cells, T)
    cell = torch.arange(T, device=call.q.device) * cells // T
    sampled = (
        torch.linspace(0, T - 1, min(T, cells * queries_per_cell), dtype=torch.float32, device=call.q.device)
        .round()
        .long()
    )
    row_cell = cell[sampled]
    pooled = call.lse.new_zeros(cells, cells)
    for block in sampled.split(max(1, min(_BLOCK_ELEMENTS // T, max(_BLOCK_ROWS, _POOLED_ELEMENTS // T)))):
        seen = slice(0, int(block[-1]) + 1)
        keys = call.lse.new_zeros(len(block), cells).index_add_(1, cell[seen], weights(call, block, seen)[0, 0])
        pooled.index_add_(0, cell[block], keys)
    return pooled / row_cell.bincount(minlength=cells).clamp_(min=1)[:, None]


def _row_blocks(tokens: int, elements_per_row: int) -> Iterator[slice]:
    block = max(1, min(tokens, _BLOCK_ELEMENTS // max(1, elements_per_row)))
    for start in range(0, tokens, block):
        yield slice(start, min(start + block, tokens))


def _first_key(call: AttentionCall, rows: slice) -> int:
    """A key before which the queries `rows` see nothing."""
    return 0 if call.mask is None else call.mask.first_key(rows)
