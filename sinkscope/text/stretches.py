"""The token ids of a document, made a stretch at a time.

Tokenizing a large text at once takes some two hundred times its size in memory, and time for all of it where a few
windows are wanted. So a text is tokenized in stretches that are cut where the tokenizer lets it (`cuts`), and the ids
are those of the whole text, one for one:

- A stretch is tokenized with some text before it, its context, because tokenizers mark the start of a text. What the
  context alone gives must be how the ids of both begin; the rest are the stretch's own.
- The ids that the stretch before ends in must be those that its context ends in, over more than one place at which the
  text could be cut: from such a place on both have read the same.

Where the two do not agree the cut is given up and the stretch becomes longer, in the end the whole document; so does
that of a tokenizer which lets a text be cut nowhere.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from transformers import PreTrainedTokenizerBase

from sinkscope.errors import SinkscopeError
from sinkscope.text.cuts import cuts_of
from sinkscope.text.documents import Document
from sinkscope.text.tokenizing import token_ids

Encode = Callable[[str], list[int]]
_SPAN = 1 << 10  # characters that are looked through for a place at once


@dataclass(frozen=True)
class Sizes:
    """How a text is cut, in characters.

    Attributes:
        first: the length of the first stretch; later ones are twice as long as the one before.
        longest: as long as they become by themselves.
        context: what is read again before a stretch, at least.
        margin: what is read behind a place before the text is cut there.
    """

    first: int = 1 << 13
    longest: int = 1 << 17
    context: int = 256
    margin: int = 256


def id_stretches(
    document: Document, tokenizer: PreTrainedTokenizerBase, sizes: Sizes | None = None
) -> Iterator[list[int]]:
    """The ids of a document in stretches; joined, they are those of its whole text. No more of it is read than needed.

    Args:
        document: the text.
        tokenizer: what makes tokens of it.
        sizes: how it is cut.

    Raises:
        SinkscopeError: while iterating, for a text that cannot be read.
    """
    sizes = sizes or Sizes()
    encode = partial(token_ids, tokenizer, special_tokens=document.special_tokens)
    source = _Reader(document.pieces())
    text = source.read(sizes.first + sizes.margin)
    if source.ended:
        yield encode(text)
        return
    cuts = cuts_of(tokenizer)
    if not cuts:
        yield encode(text + source.rest())
        return
    yield from _Stretches(source, text, encode, cuts, sizes).all(document.name)


class _Reader:
    """Text that is read as it is asked for."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._left = ""
        self.ended = False

    def read(self, characters: int) -> str:
        """At most that many characters; the text has ended where there were none left behind them."""
        parts = [self._left]
        size = len(self._left)
        while size <= characters:
            piece = next(self._pieces, None)
            if piece is None:
                self.ended = True
                break
            parts.append(piece)
            size += len(piece)
        text = "".join(parts)
        self._left = text[characters:]
        return text[:characters]

    def rest(self) -> str:
        """All that is left."""
        text = "".join([self._left, *self._pieces])
        self._left, self.ended = "", True
        return text


@dataclass(frozen=True)
class _Stretch:
    """A stretch behind its context: the text of both, the context's length and ids, and the stretch's own ids."""

    text: str
    context: int
    before: list[int]
    ids: list[int]


@dataclass(frozen=True)
class _Cut:
    """A place in a text, where the context of what follows it starts, and the ids of that context."""

    place: int
    start: int
    ids: list[int]


_TRIED = 8  # places before more text is read


class _Stretches:
    def __init__(
        self, source: _Reader, text: str, encode: Encode, cuts: tuple[re.Pattern[str], ...], sizes: Sizes
    ) -> None:
        self._source, self._text, self._encode, self._cuts, self._sizes = source, text, encode, cuts, sizes

    def all(self, name: str) -> Iterator[list[int]]:
        """The ids, a stretch at a time; each is given out once the next has agreed with it."""
        text, context = self._text, 0
        usual = size = self._sizes.first
        before: list[int] = []
        held: _Stretch | None = None
        while True:
            text += self._source.read(max(0, context + size + self._sizes.margin - len(text)))
            cut = None if self._source.ended else self._cut(text, context)
            if cut is None and not self._source.ended:
                size *= 2
                continue
            ids = self._encode(text if cut is None else text[: cut.place])
            if ids[: len(before)] != before:  # what follows reached over the cut: both stretches become one
                if held is None:
                    raise SinkscopeError(f"the tokens of '{name}' depend on text far away: cut it into several files")
                text, context, before = held.text + text[context:], held.context, held.before
                size, held = 2 * len(text), None
                continue
            if cut is not None and not self._agree(ids, cut, text):
                size *= 2
                continue
            if held is not None:
                yield held.ids
            own = ids[len(before) :]
            if cut is None:
                yield own
                return
            held = _Stretch(text[: cut.place], context, before, own)
            text, context, before = text[cut.start :], cut.place - cut.start, cut.ids
            usual = size = min(2 * usual, self._sizes.longest)

    def _cut(self, text: str, context: int) -> _Cut | None:
        """The last place of a text, past its context, that what stands around it shows to be one."""
        sizes = self._sizes
        for place in islice(self._places(text, context + 1, len(text) - sizes.margin), _TRIED):
            start = next(self._places(text, 1, place - sizes.context), None)
            if start is None:
                return None
            ids = self._encode(text[start:place])
            if self._encode(text[start : place + sizes.margin])[: len(ids)] == ids:
                return _Cut(place, start, ids)
        return None

    def _agree(self, ids: list[int], cut: _Cut, text: str) -> bool:
        """Whether the ids up to a cut end as those of the context that is read again, over another place in it."""
        other = next(self._places(text, cut.start + 1, cut.place - 1), None)
        if other is None:
            return False
        until = self._encode(text[cut.start : other])
        same = max(len(cut.ids) - len(until) + 1, len(cut.ids) // 2)
        return cut.ids[: len(until)] == until and 0 < same <= len(cut.ids) and ids[-same:] == cut.ids[-same:]

    def _places(self, text: str, low: int, high: int) -> Iterator[int]:
        """The places between two others at which a text may be cut, the last first, and the best kind before others."""
        for kind in self._cuts:
            end, span = high, _SPAN
            while end >= low:
                begin = max(low, end - span)
                yield from sorted((found.start() for found in kind.finditer(text, begin, end + 3)
                                   if begin <= found.start() <= end), reverse=True)  # fmt: skip
                end, span = begin - 1, 4 * span
