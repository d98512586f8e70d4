"""What a document is: a name, for provenance and hold-out, and its text."""

from typing import NamedTuple


class Document(NamedTuple):
    """One text.

    Attributes:
        name: where it came from, stable across machines.
        text: its content.
        special_tokens: whether the spelling of a special token in it is that token.
    """

    name: str
    text: str
    special_tokens: bool = False
