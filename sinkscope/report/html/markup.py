"""Text on its way into a page: always escaped, and readable where it is a token.

Model names, paths, columns and tokens come from outside. Whatever they hold, a browser shows it as text.
"""

import html
import unicodedata

from sinkscope.report.text import BLANKS

_SIGNS = {" ": "\N{OPEN BOX}", "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\N{RIGHTWARDS ARROW}"}
_UNSEEN = ("C", "Z")  # Unicode's control, format, surrogate, private and unassigned characters, and separators


def escaped(text: object) -> str:
    """The text as HTML, with everything escaped that no eye could see."""
    return html.escape("".join(letter if letter == " " else _visible(letter) for letter in str(text)))


def visible(token: object) -> str:
    """A token with its blanks and line breaks as signs; the marks by which vocabularies write them are undone."""
    return "".join(_SIGNS.get(letter) or _visible(letter) for letter in str(token).translate(BLANKS))


def element(tag: str, *content: str, **attributes: str | None) -> str:
    """An element around content that is HTML already; attributes are escaped here, None leaves one out.

    A trailing underscore of a name is dropped (`class_`), other underscores become hyphens.
    """
    named = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escaped(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{named}>{''.join(content)}</{tag}>"


def _visible(letter: str) -> str:
    if unicodedata.category(letter)[0] in _UNSEEN:
        return ascii(letter)[1:-1]
    return letter
