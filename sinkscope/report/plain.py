"""A summary that rich prints in colour to the terminal's width, and `str` turns into plain text."""

import io

from rich.console import Console

PLAIN_WIDTH = 140


class Plain:
    """Gives plain text to a class that rich can print."""

    def __str__(self) -> str:
        buffer = io.StringIO()
        Console(file=buffer, width=PLAIN_WIDTH, color_system=None, force_terminal=False).print(self)
        return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())
