"""Text on its way into a page: always escaped, and readable where it is a token.

Model names, paths, columns and tokens come from outside. Whatever they hold, a browser shows it as text.
"""

import html

from sinkscope.report.text import BLANKS
from sinkscope.terminal import readable, readable_letter

_SIGNS = {" ": "\N{OPEN BOX}", "\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\N{RIGHTWARDS ARROW}"}


def escaped(text: object) -> str:
    """The text as HTML, with everything escaped that no eye could see."""
    return html.escape(readable(text))


def visible(token: object) -> str:
    """A token with its blanks and line breaks as signs; the marks by which vocabularies write them are undone."""
    return "".join(_SIGNS.get(letter) or readable_letter(letter) for letter in str(token).translate(BLANKS))


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
