"""Where the tokens of a text do not depend on what follows: the places at which a tokenizer lets a text be cut.

A tokenizer normalizes a text, splits it, and makes tokens of each part. Two kinds of places are looked at: before a
space between two ASCII letters, and behind a line break between two characters that are no white space. A tokenizer
lets a text be cut there if no step reads across:

- Unicode's normal forms never join what stands before an ASCII character with that character, and a character map that
  works on grapheme clusters leaves these two alone as well.
- A regular expression must be such that no match, wherever it began, could read on over the place (`patterns`).
- BPE needs no split at all: a text's tokens are those of its two halves wherever the two tokens that meet are, by
  themselves, the tokens of the text that they spell. (A merge across the place would have to happen in those two alone
  as well, since no merge reaches beyond them.) Unigram, WordPiece and WordLevel weigh a part as a whole, so for these
  the place has to be one at which the text is split.

A step that is not known here lets a text be cut nowhere.
"""

import json
import re
import string
import sys
from functools import cache
from typing import Any

from transformers import PreTrainedTokenizerBase

from sinkscope.text.patterns import literal, reads_across

_WORDS = re.compile(r"(?<=[A-Za-z])(?= [A-Za-z])")
_LINES = re.compile(r"(?<=\S\n)(?=\S)")
_GPT2 = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # of ByteLevel

# By what they do to a text: nothing across these places, or to its ends only.
_FOR_WORDS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "Precompiled", "BertNormalizer",
              "Prepend", "Strip"}  # fmt: skip
_FOR_LINES = {"NFC", "NFD", "Prepend"}  # and what keeps line breaks and makes no new white space
_SPLIT_AT_SPACE = {"Whitespace", "WhitespaceSplit", "BertPreTokenizer"}
_BY_CHARACTER = {"Digits", "Punctuation"}
_SEPARATORS = (" ", "\u2581")


def cuts_of(tokenizer: PreTrainedTokenizerBase) -> tuple[re.Pattern[str], ...]:
    """The places at which a tokenizer lets a text be cut, as expressions that match places alone; the best first.

    Empty where it lets a text be cut nowhere.
    """
    core = getattr(tokenizer, "backend_tokenizer", None)
    if not tokenizer.is_fast or core is None:
        return ()
    normalizers, splitters = _steps(core.normalizer, "normalizers"), _steps(core.pre_tokenizer, "pretokenizers")
    added = [str(token) for token in core.get_added_tokens_decoder().values()]
    if normalizers is None or splitters is None or getattr(core.model, "dropout", None):
        return ()
    whole = type(core.model).__name__ != "BPE"  # a part is weighed as a whole
    cuts = []
    separator = _normalized(core.normalizer, "ab cd ef", _SEPARATORS)
    if separator and _words(normalizers, splitters, separator, whole=whole) and not _inside(_WORDS, added):
        cuts.append(_WORDS)
    kept = _normalized(core.normalizer, "ab\ncd\nef", ("\n",))
    if kept and _lines(normalizers, splitters, whole=whole) and not _inside(_LINES, added):
        cuts.append(_LINES)
    return tuple(cuts)


def _words(normalizers: list[Any], splitters: list[Any], separator: str, *, whole: bool) -> bool:
    letters = string.ascii_letters
    if not all(_local(step, _FOR_WORDS, (letters, " ", letters)) for step in normalizers):
        return False
    if not _splits_locally(splitters, (letters, separator, letters)):
        return False
    return not whole or any(
        step["type"] in _SPLIT_AT_SPACE or (step["type"] == "Metaspace" and step.get("split", True))
        for step in splitters
    )


def _lines(normalizers: list[Any], splitters: list[Any], *, whole: bool) -> bool:
    kinds = (_visible(), "\n", _visible())
    if not all(_local(step, _FOR_LINES, kinds) for step in normalizers) or not _splits_locally(splitters, kinds):
        return False
    return not whole or any(step["type"] in _SPLIT_AT_SPACE for step in splitters)


def _steps(component: Any, inner: str) -> list[Any] | None:
    """What a normalizer or pre-tokenizer does, step by step; None where it does not say."""
    if component is None:
        return []
    try:
        found = json.loads(component.__getstate__())
    except (TypeError, ValueError, AttributeError):  # a step that is written in Python
        return None
    steps: list[Any] = []
    waiting = [found]
    while waiting:
        step = waiting.pop(0)
        if step["type"] == "Sequence":
            waiting = [*step[inner], *waiting]
        else:
            steps.append(step)
    return steps


def _normalized(normalizer: Any, text: str, separators: tuple[str, ...]) -> str | None:
    """What becomes of the white space between the letters of a text; None if the letters do not remain."""
    made = text if normalizer is None else normalizer.normalize_str(text)
    return next((one for one in separators if made.endswith(one.join(text.split()))), None)


def _local(step: Any, harmless: set[str], kinds: tuple[str, str, str]) -> bool:
    if step["type"] == "Replace":
        return not reads_across(_expression(step["pattern"]), *kinds)
    return step["type"] in harmless


def _splits_locally(splitters: list[Any], kinds: tuple[str, str, str]) -> bool:
    for number, step in enumerate(splitters):
        kind = step["type"]
        if kind in ("ByteLevel", "Metaspace") and number < len(splitters) - 1:
            return False  # what follows would see other characters than those that are looked for
        if kind == "ByteLevel":
            local = not step.get("use_regex", True) or not reads_across(_GPT2, *kinds)
        elif kind == "Split":
            local = step["behavior"] != "Contiguous" and not reads_across(_expression(step["pattern"]), *kinds)
        else:
            local = kind == "Metaspace" or kind in _SPLIT_AT_SPACE or kind in _BY_CHARACTER
        if not local:
            return False
    return True


def _expression(pattern: dict[str, str]) -> str:
    return pattern["Regex"] if "Regex" in pattern else literal(pattern["String"])


def _inside(place: re.Pattern[str], added: list[str]) -> bool:
    """Whether one of the tokens that are found before anything else has such a place inside."""
    return any(place.search(token) or place.search(token.replace("\u2581", " ")) for token in added)


@cache
def _visible() -> str:
    """All characters but white space."""
    characters = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    return "".join(character for character in characters if not character.isspace() and character.isprintable())
