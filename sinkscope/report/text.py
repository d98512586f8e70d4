"""Words and numbers on paper: printable, of known width, never wider than their place.

Model names and tokens come from outside. They may hold line breaks, a dollar sign that matplotlib would take for
mathematics, or letters that no font at hand can draw, so whatever is not printable ASCII is escaped.
"""

import functools
import math
import re
from collections.abc import Sequence
from typing import Any

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import LoadFlags

NOT_MEASURED = "not measured"
_MILLION = 1e6
BLANKS = {0x0120: " ", 0x2581: " ", 0x010A: "\n"}  # byte-level and SentencePiece vocabularies
_STRETCHES = 3  # of layers that are named one by one
_FINE = 100  # points at which letters are measured: what rounding is left is a hundredth of it


def printable(text: object, limit: int | None = None, *, keep_end: bool = False) -> str:
    r"""The text in ASCII, anything else escaped as in Python ("\n", "\u0120").

    Args:
        text: anything with a `str`.
        limit: longest result; dots stand for what was cut.
        keep_end: cut the beginning, as suits a path.
    """
    escaped = ascii(str(text))[1:-1].replace("\\\\", "\\").replace("\\'", "'")
    if limit is not None and len(escaped) > limit:
        return "..." + escaped[3 - limit :] if keep_end else escaped[: limit - 3] + "..."
    return escaped


def quoted(token: object, limit: int = 24) -> str:
    """A token in quotation marks, so that blanks show; the marks by which vocabularies write blanks are undone."""
    return f'"{printable(str(token).translate(BLANKS), limit)}"'


def counted(count: int, thing: str) -> str:
    """A count with its noun: "1 layer", "2 layers"."""
    return f"{number(count)} {thing}{'' if count == 1 else 's'}"


def listed(things: Sequence[str], last: str = "and") -> str:
    """Things in a row: "a", "a and b", "a, b and c"."""
    return things[0] if len(things) == 1 else f"{', '.join(things[:-1])} {last} {things[-1]}"


def layer_words(layers: Sequence[int]) -> str:
    """Layers in words: "layer 3", "layers 3 to 8", "layers 2, 11 and 28"; many stretches by their number and ends."""
    ordered = sorted(set(layers))
    starts = [layer for layer in ordered if layer - 1 not in ordered]
    ends = [layer for layer in ordered if layer + 1 not in ordered]
    if len(ordered) == 1:
        return f"layer {ordered[0]}"
    if len(starts) > _STRETCHES:
        return f"{len(ordered)} layers from {ordered[0]} to {ordered[-1]}"
    if len(ordered) == 2:
        return f"layers {ordered[0]} and {ordered[1]}"
    stretches = [str(a) if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True)]
    return f"layers {listed(stretches)}"


def about(value: float) -> str:
    """A number to two significant digits, thousands separated: for what is said to be "about" so much."""
    digits = 1 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def literal(text: str) -> str:
    """The text with its dollar signs protected from matplotlib's mathematics."""
    return text.replace("$", r"\$")


def number(value: Any, digits: int = 3) -> str:
    """A number with `digits` significant digits, thousands separated; "not measured" for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOT_MEASURED
    if isinstance(value, int):
        return f"{value:,}"
    if abs(value) >= _MILLION or math.isinf(value):
        return f"{value:.{digits - 1}e}"
    if abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def width(text: str, size: float, weight: str = "normal") -> float:
    """Width of a line of text in points, letter by letter.

    Shaping the line as it is drawn would cost more than drawing it, and tell half a percent: kerning is not counted.
    """
    return size * sum(_advance(letter, weight) for letter in text)


@functools.lru_cache(maxsize=4096)
def _advance(letter: str, weight: str) -> float:
    """From one letter to the next, over the size of the font."""
    font = get_font(findfont(FontProperties(family="DejaVu Sans", weight=weight)))
    font.set_size(_FINE, 72)
    return float(font.load_char(ord(letter), flags=LoadFlags.NO_HINTING).linearHoriAdvance) / 2**16 / _FINE


def fitted(text: str, points: float, size: float, weight: str = "normal") -> str:
    """The text, cut with dots where it is wider than `points`."""
    if width(text, size, weight) <= points:
        return text
    kept = len(text)
    while kept > 0 and width(text[:kept] + "...", size, weight) > points:
        kept -= 1
    return text[:kept] + "..."


def wrapped(text: str, points: float, size: float, weight: str = "normal") -> list[str]:
    """The text in lines no wider than `points`, broken at blanks; a word wider than a line after a dash."""
    lines: list[str] = []
    for word in text.split():
        extended = f"{lines[-1]} {word}" if lines else word
        if lines and width(extended, size, weight) <= points:
            lines[-1] = extended
        else:
            lines += _pieces(word, points, size, weight)
    return lines


def _pieces(word: str, points: float, size: float, weight: str) -> list[str]:
    """A word in lines, broken after dashes, and between letters where no dash helps."""
    pieces = [""]
    for part in re.findall(r"[^-]*-+|[^-]+", word):
        if pieces[-1] and width(pieces[-1] + part, size, weight) > points:
            pieces.append("")
        for letter in part:
            if pieces[-1] and width(pieces[-1] + letter, size, weight) > points:
                pieces.append("")
            pieces[-1] += letter
    return pieces
