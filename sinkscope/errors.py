"""The exceptions that a user is meant to read.

Whatever can be wrong with a user's input is raised as a `SinkscopeError`: one line that says what is wrong and what to
do. Anything else that escapes is a bug.

A message names what the user can change by the field of the request, in backticks: `sequences`, `bos=never`,
`backward=False`. Backticks are kept for that; names that come from files stand in quotes. A library's user reads the
fields as they are, and the command line spells them as its options.
"""

from sinkscope.terminal import readable


class SinkscopeError(Exception):
    """What failed, in one line.

    Args:
        message: what is wrong and what to do about it; line breaks become spaces, and what no eye could see its escape.
    """

    def __init__(self, message: str) -> None:
        super().__init__(readable(" ".join(message.split())))


class RequestError(SinkscopeError):
    """A request that could never work, whatever the state of the machine, the network or the files."""


class UnsuitedError(SinkscopeError):
    """A model that is not made for what is asked of it, whatever else is asked: its weights, or how it is built."""


def first_line(error: BaseException) -> str:
    """The first line of a library's message, with the next where the first only announces it.

    Backticks become quotes, as they are for fields; a message that is empty is the error's name.
    """
    lines = [line.strip() for line in str(error).replace("`", "'").splitlines() if line.strip()]
    lines = lines or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
