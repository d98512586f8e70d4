"""What is taken away from an attention module: keys, values, heads, or all but a sliding cache.

An edit belongs to a module while a `with` block lasts. Two functions read it: `interventions.edited_attention`, which
the model calls then, and the tap, so that what is measured is the edited model. Several edits on one module add up.

    hidden      a key that no later query sees; each later row is a softmax over the keys that are left
    unweighted  a key whose weight goes to nothing: rows stay as they are, less its term
    valueless   a token whose value is zero
    heads       query heads whose output is zero
    cache       query t sees the first N keys and the K most recent ones, its own among them
    rounded     queries see keys and values as a cache of few bits holds them (`methods.cache`)

A hidden or unweighted token still attends to itself: what is taken away is what later tokens get of it, and its own
row would otherwise be empty at position 0. Positions count from a sequence's first token, so batches with padding are
refused.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from sinkscope.compat.mask_functions import causal_mask_function
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.models.taps.masks import Mask

EDITED = "sinkscope_edited_"
"""How the names of attention implementations that read edits begin."""

ORIGINAL, INSIDE = "original", "cache"
POSITIONS = (ORIGINAL, INSIDE)
"""How positions count under a sliding cache: as in the text, or from the start of the cache (StreamingLLM)."""


@dataclass(frozen=True)
class SlidingCache:
    """A cache of the first and the most recent tokens.

    Attributes:
        first: N, tokens at the start that are kept.
        recent: K, most recent tokens that are kept, the query's own included.
        positions: of `POSITIONS`.
        kept: the tokens that are kept in the place of the first N; None for these.
    """

    first: int
    recent: int
    positions: str = ORIGINAL
    kept: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.first < 0 or self.recent < 1:
            raise RequestError(f"a cache keeps 0 or more first tokens and 1 or more recent ones, not {self.name}")
        if self.positions not in POSITIONS:
            raise RequestError(f"positions of a cache are {' or '.join(POSITIONS)}, not '{self.positions}'")

    @property
    def name(self) -> str:
        """As on the command line, without `cache:`."""
        return f"{self.first}+{self.recent}"

    @property
    def size(self) -> int:
        """N + K."""
        return self.first + self.recent

    @property
    def drops_from(self) -> int:
        """The length from which on a text is longer than what is surely kept of it."""
        return self.size if self.kept is None else self.recent

    @property
    def anchors(self) -> tuple[int, ...]:
        """The tokens that are kept for good."""
        return tuple(range(self.first)) if self.kept is None else self.kept

    def sees(self, query: Tensor, key: Tensor) -> Tensor:
        """Whether queries see keys, by position: index tensors that broadcast."""
        near = (key > query - self.recent) & (key <= query)
        if self.kept is None:
            return near | ((key < self.first) & (key <= query))
        kept = torch.zeros_like(key, dtype=torch.bool)
        for position in self.kept:
            kept = kept | (key == position)
        return near | (kept & (key <= query))


class Passing:
    """Where the forward pass of one model is, as hooks of an intervention note it.

    Attributes:
        past: tokens that were read before this pass and lie in its cache.
        rotary: cosines and sines [B, T, r] of this pass's positions, by attention module.
        capped: those of the last position inside a cache [B, 1, r], once they were seen.
    """

    def __init__(self) -> None:
        self.past = 0
        self.rotary: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.capped: dict[nn.Module, tuple[Tensor, Tensor]] = {}


class Rounded(Protocol):
    """Attention over rounded keys and values."""

    def attend(
        self,
        attend: Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor],
        qkv: tuple[Tensor, Tensor, Tensor],
        mask: Tensor | None,
        past: int,
        first: int,
    ) -> Tensor:
        """Outputs per head [B, T, H, e] of plain attention over what queries see of keys and values."""
        ...


@dataclass(frozen=True)
class AttentionEdit:
    """What is taken away from one attention module.

    Attributes:
        hidden: positions.
        unweighted: positions.
        valueless: positions.
        heads: query heads.
        cache: None leaves all keys.
        rounded: None leaves keys and values exact.
        passing: of the model; not needed where whole sequences are read without a cache.
    """

    hidden: tuple[int, ...] = ()
    unweighted: tuple[int, ...] = ()
    valueless: tuple[int, ...] = ()
    heads: tuple[int, ...] = ()
    cache: SlidingCache | None = None
    rounded: Rounded | None = None
    passing: Passing | None = None

    def __add__(self, other: "AttentionEdit") -> "AttentionEdit":
        if self.cache is not None and other.cache is not None:
            raise RequestError("two sliding caches on one model: leave out one of them")
        if self.rounded is not None or other.rounded is not None:
            raise RequestError("a cache of few bits does not stack with other changes of attention")
        names = ("hidden", "unweighted", "valueless", "heads")
        both = {name: tuple(sorted({*getattr(self, name), *getattr(other, name)})) for name in names}
        following = other if other.cache is not None else self  # a cache's own hooks note what it needs
        passing = following.passing or self.passing or other.passing
        whole = replace(self, **both, cache=self.cache or other.cache, rounded=None, passing=passing)
        if whole.unweighted and (whole.hidden or whole.cache is not None):
            raise RequestError("attention that is taken away without renormalizing does not stack with hidden keys")
        return whole

    def keeps_to(self, mask: Mask | None, tokens: int, device: torch.device) -> Mask | None:
        """A mask of whole sequences with what the edit hides on top; None for plain causality.

        Raises:
            SinkscopeError: for positions that count inside the cache, which no mask says.
        """
        if self.cache is not None and self.cache.positions == INSIDE:
            raise SinkscopeError("attention whose positions count inside a cache is not measured")
        if self.rounded is not None:
            raise SinkscopeError("attention over a cache of few bits is not measured, its loss is")
        if self.cache is None and not self.hidden:
            return mask
        seen_before: Any = causal_mask_function if mask is None else mask.visible

        def visible(sequence: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            seen: Tensor = seen_before(sequence, head, query, key)
            for position in self.hidden:
                seen = seen & ((key != position) | (query == position))
            return seen if self.cache is None else seen & self.cache.sees(query, key)

        if mask is None:
            return Mask(visible, tokens, torch.arange(1, device=device))
        return replace(mask, visible=visible, starts=None, whole=False)

    def values(self, v: Tensor, first: int = 0) -> Tensor:
        """Values [B, K, T, e] with those zeroed that are to be; `first` is the position of the first of them."""
        gone = [p - first for p in (*self.valueless, *self.unweighted) if 0 <= p - first < v.shape[2]]
        return v.index_fill(2, torch.tensor(gone, device=v.device), 0) if gone else v

    def outputs(self, y: Tensor) -> Tensor:
        """Outputs per head [B, T, H, e] with those zeroed that are to be."""
        return y.index_fill(2, torch.tensor(self.heads, device=y.device), 0) if self.heads else y


_edits: "WeakKeyDictionary[nn.Module, tuple[AttentionEdit, ...]]" = WeakKeyDictionary()


def edit_of(module: nn.Module) -> AttentionEdit | None:
    """All that is taken away from a module; None for nothing."""
    edits = _edits.get(module)
    if not edits:
        return None
    whole = edits[0]
    for edit in edits[1:]:
        whole = whole + edit
    return whole


@contextmanager
def editing(edits: Mapping[nn.Module, AttentionEdit]) -> Iterator[None]:
    """Puts edits on modules while a `with` block lasts.

    Raises:
        RequestError: for edits that cannot stand on top of those that are there.
    """
    for module, edit in edits.items():
        before = edit_of(module)
        if before is not None:
            _ = before + edit
    for module, edit in edits.items():
        _edits[module] = (*_edits.get(module, ()), edit)
    try:
        yield
    finally:
        for module, edit in edits.items():
            left = list(_edits.get(module, ()))
            left.remove(edit)
            if left:
                _edits[module] = tuple(left)
            else:
                _edits.pop(module, None)
