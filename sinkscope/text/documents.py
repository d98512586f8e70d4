"""What a document is: a name, for provenance and hold-out, and its text.

A text may be larger than what is read of it, so it comes in pieces: whoever needs only its start reads no more.
"""

from collections.abc import Callable, Iterator


class Document:
    """One text.

    Args:
        name: where it came from, stable across machines.
        text: its content, or what reads it in pieces, from the start at every call.
        special_tokens: whether the spelling of a special token in it is that token.

    Attributes:
        name: as given.
        special_tokens: as given.
    """

    def __init__(self, name: str, text: str | Callable[[], Iterator[str]], *, special_tokens: bool = False) -> None:
        self.name = name
        self.special_tokens = special_tokens
        self._text = text

    def with_special_tokens(self) -> "Document":
        """The same text, in which the spelling of a special token is that token."""
        return Document(self.name, self._text, special_tokens=True)

    def pieces(self) -> Iterator[str]:
        """The text in pieces that follow each other, read as they are asked for."""
        return iter((self._text,)) if isinstance(self._text, str) else self._text()

    @property
    def text(self) -> str:
        """The whole text."""
        return self._text if isinstance(self._text, str) else "".join(self._text())

    def start(self, characters: int) -> str:
        """The first characters of the text, all of it where it has no more."""
        read = ""
        for piece in self.pieces():
            read += piece[: characters - len(read)]
            if len(read) >= characters:
                break
        return read

    def is_blank(self) -> bool:
        """Whether there is nothing but white space in it."""
        return not any(piece.strip() for piece in self.pieces())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented
        return (self.name, self.special_tokens, self.text) == (other.name, other.special_tokens, other.text)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Document({self.name!r}, {self.start(40)!r})"
