r"""Whether a regular expression that splits text could read across a place in it.

Tokenizers split text with expressions that are lists of alternatives of runs of characters, as ` ?\p{L}+|\s+`. What
is asked here is whether any of them, from whatever place it began at, could read a character of one kind, then one of a
second and then one of a third. Where none can, every match ends at such a place at the latest, and what lies behind it
has no influence on what lies before.

The answer errs on one side: an expression that is not understood, or whose parts would have to be weighed against each
other, is taken to read across.
"""

import re
from functools import lru_cache

from tokenizers import Regex
from tokenizers.pre_tokenizers import Split

_PART = re.compile(
    r"(?P<open>\((?!\?)|\(\?(?:i?:|[=!>]))"
    r"|(?P<close>\))"
    r"|(?P<other>\|)"
    r"|(?P<times>(?:[*+?]|\{\d*,?\d*\})[+?]?)"
    r"|(?P<atom>\[\^?\]?(?:\\[pP]\{[^}]*\}|\\[^bBpP0-9]|[^\]\\\[])*\]"
    r"|\\[pP]\{[^}]*\}|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}|\\[sSdDwWrnt]|\\[^A-Za-z0-9]"
    r"|[^\\.^$\[\](){}|*+?])",
    re.DOTALL,
)


def reads_across(pattern: str, left: str, middle: str, right: str) -> bool:
    """Whether a match could read a character of `left`, one of `middle` and one of `right` after one another.

    Args:
        pattern: a regular expression in the tokenizers library's dialect.
        left: the characters that count as the first.
        middle: as the second.
        right: as the third.
    """
    alternatives = _alternatives(pattern)
    if alternatives is None:
        return True
    for atoms in alternatives:
        wanted = iter((left, middle, right))
        kind = next(wanted)
        for atom in atoms:
            if _accepts(atom, kind):
                following = next(wanted, None)
                if following is None:
                    return True
                kind = following
    return False


def literal(text: str) -> str:
    """The expression that matches a text."""
    return "".join(f"\\{character}" if character in r"\.^$[](){}|*+?" else character for character in text)


@lru_cache(maxsize=1024)
def _accepts(atom: str, kind: str) -> bool:
    """Whether an expression for one character matches some of these."""
    left = Split(Regex(atom), "removed").pre_tokenize_str(kind)
    return sum(len(piece) for piece, _ in left) < len(kind)


def _alternatives(pattern: str) -> list[list[str]] | None:
    """The alternatives of an expression, each as the characters that it could read one after another.

    What may come several times is listed three times, which is as often as a question about three characters can see.
    The alternatives of a group are listed one after another. None for what is not understood.
    """
    alternatives: list[list[str]] = []
    groups: list[tuple[list[str], bool]] = []  # what was read before each open group, and whether case counted there
    atoms: list[str] = []
    last: list[str] = []  # what a quantifier would repeat
    anycase = False
    at = 0
    while at < len(pattern):
        part = _PART.match(pattern, at)
        if part is None or "&&" in part[0]:
            return None
        at = part.end()
        if part["open"]:
            groups.append((atoms, anycase))
            atoms, last, anycase = [], [], anycase or part["open"] == "(?i:"
        elif part["close"]:
            if not groups:
                return None
            last = atoms
            atoms, anycase = groups.pop()
            atoms = atoms + last
        elif part["other"]:
            if not groups:
                alternatives.append(atoms)
                atoms = []
            last = []
        elif part["times"]:
            if not part["times"].startswith("?"):
                atoms = atoms + last + last
            last = []
        else:
            last = [f"(?i:{part['atom']})" if anycase else part["atom"]]
            atoms = atoms + last
    return None if groups else [*alternatives, atoms]
