r"""The one place that prints: results on stdout, everything else on stderr.

Names of models, tensors, columns and tokens come from files that others wrote, and a terminal obeys what it is sent: an
escape sequence in a name can retitle the window, write over earlier lines, or turn the order of letters around. So
whatever no eye could see is printed as its escape, `\x1b` or `\u202e`, and a line stays one line.

What the library logs is escaped in the same way.

Where nobody reads (a closed descriptor, a pipe whose other end is gone) the work goes on without printing.
"""

import logging
import os
import sys
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import RenderableType

# Unicode's control, format (which turns the order of letters around), surrogate, private and unassigned characters, and
# separators, of which only the plain space is what it looks like.
_UNSEEN = ("C", "Z")
_STDOUT, _STDERR = 1, 2


def readable(text: object) -> str:
    """The text with everything escaped that no eye could see, line breaks and tabs too."""
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    return "".join(map(readable_letter, words))


def readable_letter(letter: str) -> str:
    """A letter, or its escape if no eye could see it."""
    unseen = letter != " " and unicodedata.category(letter)[0] in _UNSEEN
    return ascii(letter)[1:-1] if unseen else letter


def readable_lines(text: str) -> str:
    """The text with its line breaks, and everything else escaped that no eye could see."""
    return "\n".join(map(readable, text.split("\n")))


class _Escaping(logging.Filter):
    """Makes what the library logs readable, whoever prints it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Puts the escaped message in place of the message and its arguments."""
        record.msg, record.args = readable(record.getMessage()), ()
        return True


def logger(name: str) -> logging.Logger:
    """A module's logger, whose messages hold names from files only as an eye can see them."""
    log = logging.getLogger(name)
    if not any(isinstance(one, _Escaping) for one in log.filters):
        log.addFilter(_Escaping())
    return log


def complain(text: str) -> None:
    """Prints a line on stderr."""
    _write(sys.stderr, f"{readable(text)}\n", _STDERR)


def tell(text: str) -> None:
    """Prints lines on stdout."""
    _write(sys.stdout, f"{readable_lines(text)}\n", _STDOUT)


def tell_json(text: str) -> None:
    """Prints JSON on stdout; what no eye could see is escaped as JSON does it, so that it reads the same."""
    lines = ("".join(c if readable_letter(c) == c else _in_json(c) for c in line) for line in text.split("\n"))
    _write(sys.stdout, "\n".join(lines) + "\n", _STDOUT)


def show(summary: "RenderableType", plain_width: int | None = None) -> None:
    """Prints a summary on stdout: in colour and to its width on a terminal, else as plain text.

    Args:
        summary: what rich can print.
        plain_width: the width where stdout is no terminal; None leaves it to the summary's own `str`.
    """
    from rich.console import Console
    from rich.segment import Segment, Segments

    terminal = sys.stdout is not None and sys.stdout.isatty()
    if not terminal and plain_width is None:
        tell(str(summary))
        return
    console = Console(width=None if terminal else plain_width)
    parts = console.render(summary)
    harmless = (part if part.control else Segment(readable_lines(part.text), part.style) for part in parts)
    with console.capture() as made:
        console.print(Segments(harmless), end="")
    _write(sys.stdout, made.get(), _STDOUT)


def without_readers() -> None:
    """Gives descriptors and streams that were closed before the start to nobody.

    A daemon may be started without them. The next file that is opened would otherwise get their numbers, and with them
    whatever is printed; and Python has None for such a stream, which few libraries expect.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def _write(stream: TextIO | None, text: str, number: int) -> None:
    if stream is None or stream.closed:
        return
    try:
        try:
            stream.write(text)
        except UnicodeEncodeError:  # the terminal's encoding lacks a letter
            stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
        stream.flush()
    except BrokenPipeError:
        # What is left in the stream would be written when Python ends, and fail again.
        if stream in (sys.__stdout__, sys.__stderr__):
            nobody = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nobody, number)
            os.close(nobody)


def _in_json(letter: str) -> str:
    """A letter as JSON escapes it: beyond the first 65,536 as two surrogates."""
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
