"""Any text as a haystack: running words, and the places between its sentences where something can be hidden.

Line breaks and indentation are dropped, so that a text is one paragraph whatever its source. Sentences end where a word
ends with a full stop, a question or an exclamation mark. Text without such ends (code, say) is parted between words.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sinkscope.text.documents import Document

REACH = 16  # words that a hidden sentence may stand away from its place, to stand between two sentences

_SENTENCE_END = re.compile(r"[.!?][\"')\]]*$")


@dataclass(frozen=True)
class Haystack:
    """The words of a text, in order."""

    words: list[str]

    def part(self, start: int, count: int) -> list[str]:
        """`count` words from `start` on."""
        return self.words[start : start + count]


def read_haystack(documents: Iterable[Document], words: int) -> Haystack:
    """Reads at most `words` words of a source, no more of it than needed."""
    running: list[str] = []
    for document in documents:
        running += document.text.split()
        if len(running) >= words:
            break
    return Haystack(running[:words])


def place(words: list[str], depth: float) -> int:
    """Where to hide a sentence: how many words stand before it.

    The end of a sentence nearest to `depth` if one is within `REACH` words, else the place itself. Start and end of the
    haystack count as ends of sentences.

    Args:
        words: the haystack.
        depth: 0 for its start to 1 for its end.
    """
    target = round(depth * len(words))
    near = range(max(0, target - REACH), min(len(words), target + REACH) + 1)
    ends = [i for i in near if i in (0, len(words)) or _SENTENCE_END.search(words[i - 1])]
    return min(ends, key=lambda i: abs(i - target), default=target)


def hide(words: list[str], sentences: list[tuple[int, str]]) -> tuple[str, list[int]]:
    """Puts sentences into a haystack.

    Args:
        words: the haystack.
        sentences: how many words stand before each, and the sentence.

    Returns:
        The text, and the character at which each sentence starts in it.
    """
    text, starts, done = "", [0] * len(sentences), 0
    for number, (before, sentence) in sorted(enumerate(sentences), key=lambda item: item[1][0]):
        text = _joined(text, " ".join(words[done:before]))
        starts[number] = len(text) + (1 if text else 0)
        text, done = _joined(text, sentence), before
    return _joined(text, " ".join(words[done:])), starts


def _joined(one: str, other: str) -> str:
    return f"{one} {other}" if one and other else one or other
