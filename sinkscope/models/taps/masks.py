"""Which keys a query may see, as a description that is evaluated a block at a time.

A boolean mask of a whole sequence has T x T entries, which at long contexts is more than everything else together.
transformers composes a mask from index functions (causal, window, chunk, padding, packed documents); here that
composition is kept as it is, and asked for the rows and columns of one block whenever a block is worked on. It also
knows the first key that a row can see, so that a window of w keys costs O(T w), not O(T^2).

transformers' modeling files hand a mask on without looking into it, as they must for flash and flex attention, whose
masks are no [B, 1, T, T] tensors either. A mask that arrives as such a tensor (a caller's own) is wrapped the same way.

Shapes: B sequences, T tokens, R rows (queries) and C columns (keys) of a block.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sinkscope.compat.mask_functions import (
    MaskFunction,
    and_masks,
    causal_mask_function,
    mapped,
    padding_mask_function,
    prepare_padding_mask,
    sdpa_mask,
)
from sinkscope.errors import SinkscopeError

_SCANNED = 2**22


@dataclass(frozen=True)
class Mask:
    """Visibility of keys, by index.

    Attributes:
        visible: the mask function.
        tokens: T.
        sequences: which rows of the batch `visible` is asked for, int64 [B]; [1] where all are alike.
        offset: what to add to a position to get the index that `visible` knows it by.
        reach: a query sees no key that lies this many positions or more before it; None where nothing is known.
        starts: the first key that each query sees in any sequence [T], on the CPU; None where nothing is known.
        whole: nothing is hidden but padding and the future, so that without padding causality is the whole mask.
        by_element: `visible` takes single indices only, and is mapped over them.
    """

    visible: MaskFunction
    tokens: int
    sequences: Tensor
    offset: int = 0
    reach: int | None = None
    starts: Tensor | None = None
    whole: bool = False
    by_element: bool = False

    def block(self, rows: slice | Tensor, columns: slice | Tensor) -> Tensor:
        """Whether the queries `rows` see the keys `columns`: bool [B, 1, R, C], B = 1 where all sequences are alike."""
        position = torch.arange(self.tokens, device=self.sequences.device)
        row = position[_on(rows, position)] + self.offset
        column = position[_on(columns, position)] + self.offset
        head = torch.zeros(1, dtype=torch.long, device=position.device)
        if self.by_element:
            return mapped(self.visible, self.sequences, head, row, column)
        seen: Tensor = self.visible(
            self.sequences[:, None, None, None], head[:, None, None, None], row[:, None], column[None, :]
        )
        return seen.expand(len(self.sequences), 1, len(row), len(column))

    def first_key(self, rows: slice) -> int:
        """A key before which no query of `rows` sees anything."""
        near = 0 if self.reach is None else max(0, rows.start - self.reach + 1)
        return near if self.starts is None else max(near, int(self.starts[rows].min()))

    def cut(self, sequence: int, start: int, stop: int) -> "Mask | None":
        """The mask of one sequence's tokens start..stop-1, none of them padding; None for plain causality."""
        if self.whole:
            return None
        one = self.sequences[min(sequence, len(self.sequences) - 1)][None]
        starts = None if self.starts is None else (self.starts[start:stop] - start).clamp_(0, stop - start - 1)
        return replace(self, tokens=stop - start, sequences=one, offset=self.offset + start, starts=starts)

    def scanned(self) -> "Mask":
        """The same mask with its `starts` looked up, block by block.

        Raises:
            SinkscopeError: if a query sees a later key.
        """
        position = torch.arange(self.tokens, device=self.sequences.device)
        starts = position.clone()
        step = max(1, _SCANNED // (self.tokens * len(self.sequences)))
        for start in range(0, self.tokens, step):
            rows = slice(start, min(start + step, self.tokens))
            seen = self.block(rows, slice(0, self.tokens)).any(0)[0]
            if bool((seen & (position > position[rows][:, None])).any()):
                raise SinkscopeError("attention to later tokens is not causal, and cannot be measured")
            # A query that sees nothing must not widen its block: its first key is itself.
            starts[rows] = torch.where(seen.any(1), seen.view(torch.uint8).argmax(1), position[rows])
        return replace(self, starts=starts.cpu())


def lazy_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: MaskFunction = causal_mask_function,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = True,
    use_vmap: bool = False,
    device: torch.device | str = "cpu",
    **options: Any,
) -> Mask | Tensor | None:
    """A mask for the tap; transformers' mask interface.

    Args:
        batch_size: B.
        q_length: queries.
        kv_length: keys, as many as queries, since whole sequences are measured.
        q_offset: index of the first query.
        kv_offset: index of the first key.
        mask_function: the composed mask, without padding.
        attention_mask: whether each token is attended, bool [B, T].
        local_size: size of the window or chunk that limits how far back a query sees.
        allow_is_causal_skip: whether `mask_function` is what its name and `local_size` say, with nothing put on top.
        use_vmap: `mask_function` takes single indices only.
        device: where index tensors live.
        **options: of other implementations.

    Returns:
        None where plain causality is the whole mask; a bool tensor for attention that is not causal (encoders of other
        modalities, whose attention is not measured).

    Raises:
        SinkscopeError: if a cache makes fewer queries than keys, or a query sees a later key.
    """
    if "allow_is_bidirectional_skip" in options:
        return sdpa_mask(
            batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask, local_size,
            allow_is_causal_skip, use_vmap=use_vmap, device=device, **options,
        )  # fmt: skip
    if q_length != kv_length or q_offset != kv_offset:
        raise SinkscopeError("whole sequences are measured, without a cache: call the model with use_cache=False")
    padding = prepare_padding_mask(attention_mask, kv_length, kv_offset)
    if padding is not None and bool(padding.all()):
        padding = None
    if allow_is_causal_skip and local_size is not None and kv_length <= local_size:
        local_size = None
        mask_function = causal_mask_function
    if allow_is_causal_skip and local_size is None and padding is None:
        return None
    visible = mask_function if padding is None else and_masks(mask_function, padding_mask_function(padding))
    alike = allow_is_causal_skip and padding is None
    mask = Mask(
        visible,
        kv_length,
        torch.arange(1 if alike else batch_size, device=device),
        kv_offset,
        reach=local_size if allow_is_causal_skip else None,
        whole=allow_is_causal_skip and local_size is None,
        by_element=use_vmap,
    )
    return mask if allow_is_causal_skip else mask.scanned()


def as_mask(mask: "Mask | Tensor | None") -> Mask | None:
    """A mask as it arrives at an attention module, as a `Mask`.

    Args:
        mask: a `Mask`, or a tensor [B, 1, T, T]: bool, True where a key is seen, or float, 0 there and the dtype's
            minimum or -inf elsewhere.

    Raises:
        SinkscopeError: for a tensor of another shape, one that adds to the scores, or one that is not causal.
    """
    if not isinstance(mask, Tensor):
        return mask
    if mask.dim() != 4 or mask.shape[1] != 1 or mask.shape[2] != mask.shape[3]:
        raise SinkscopeError(f"an attention mask of shape {list(mask.shape)} cannot be measured, only [B, 1, T, T]")
    seen = mask
    if mask.dtype != torch.bool:
        seen = mask == 0
        if not bool((seen | (mask <= torch.finfo(mask.dtype).min / 2)).all()):
            raise SinkscopeError("an attention mask that adds to the scores (a position bias) cannot be measured")

    def visible(sequence: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return seen[sequence, 0, query, key]

    return Mask(visible, seen.shape[2], torch.arange(len(seen), device=seen.device)).scanned()


def _on(index: slice | Tensor, other: Tensor) -> slice | Tensor:
    return index.to(other.device) if isinstance(index, Tensor) else index
