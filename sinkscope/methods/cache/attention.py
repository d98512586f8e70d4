"""Attention over a cache of few bits: what each query of a whole sequence sees, as if tokens had come one by one.

A token's values are rounded once it has left the window of the W most recent tokens, its group of keys once all of the
group has: until then, and for the first N tokens for good, they are exact. So query t sees of key j

    exact                 j < N, or j's group of keys is not complete, or its last token is > t - W
    rounded               otherwise; of the value the same with j itself in place of its group's last token

and never anything that a later token had a part in. For the attention function of the model, which is called as it is,
every token stands there up to three times (exact, with its value rounded, with both rounded), and a mask shows each
query one of them. Queries go in blocks, so that no mask of all T x T is made.

Shapes: B sequences, H query heads, K key/value heads, T queries, S keys, d channels.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sinkscope.errors import SinkscopeError
from sinkscope.methods.cache.rounding import rounded_keys, rounded_values
from sinkscope.methods.grammar import CacheRounding

_ROWS = 256

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]  # q, k, v, mask to y [B, T, H, e]


@dataclass(frozen=True)
class RoundedCache:
    """What attention does about keys and values; `models.taps.edits` takes it as `rounded`."""

    rounding: CacheRounding

    def attend(
        self, attend: Attend, qkv: tuple[Tensor, Tensor, Tensor], mask: Tensor | None, past: int, first: int
    ) -> Tensor:
        """Attention over what the cache holds for each query.

        Args:
            attend: the plain attention.
            qkv: queries [B, H, T, d], keys [B, K, S, d], values [B, K, S, e], exact.
            mask: of the plain attention: boolean, additive, or None for causality.
            past: position of the first query.
            first: position of the first key.

        Raises:
            SinkscopeError: if the model's own cache has dropped tokens, or a group does not divide a head.
        """
        q, k, v = qkv
        how = self.rounding
        if first > 0:
            raise SinkscopeError("the model's own cache has dropped the first tokens, from which groups of keys count")
        if v.shape[-1] % how.group:
            raise SinkscopeError(f"groups of {how.group} do not divide the {v.shape[-1]} channels of a head: choose "
                                 f"another, as cache-k{how.key_bits}v{how.value_bits}-g{v.shape[-1]}")  # fmt: skip
        keys = torch.cat([k, k, rounded_keys(k, how.key_bits, how.group, how.sinks)], dim=2)
        coarse = rounded_values(v, how.value_bits, how.group)
        values = torch.cat([v, coarse, coarse], dim=2)
        pieces = []
        for start in range(0, q.shape[2], _ROWS):
            stop = min(start + _ROWS, q.shape[2])
            query = torch.arange(past + start, past + stop, device=q.device)[:, None]
            seen = self._seen(query, torch.arange(k.shape[2], device=k.device)[None])
            pieces.append(attend(q[:, :, start:stop], keys, values, _shown(seen, mask, start, stop, q.dtype)))
        return torch.cat(pieces, dim=1)

    def _seen(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether queries see keys exact, with their value rounded, or with both rounded: [T, 3 S]."""
        how = self.rounding
        last = (key - how.sinks) // how.group * how.group + how.sinks + how.group - 1  # of the key's group
        newest = query - how.window
        value = (key >= how.sinks) & (key <= newest)
        both = value & (last <= newest)
        causal = key <= query
        return torch.cat([causal & ~value, causal & value & ~both, causal & both], dim=1)


def _shown(seen: Tensor, mask: Tensor | None, start: int, stop: int, dtype: torch.dtype) -> Tensor:
    """What queries see, as a mask of the model's kind, with what the model's own mask hides."""
    if mask is None:
        return seen[None, None]
    own = mask[:, :, start:stop, : seen.shape[1] // 3].repeat(1, 1, 1, 3)
    return seen & own if own.dtype == torch.bool else own.masked_fill(~seen, torch.finfo(dtype).min)
