"""The one exception that a user is meant to read.

Whatever can be wrong with a user's input is raised as `SinkscopeError` with a single line that says what is wrong and
what to do. The command line prints that line on stderr and exits with `exit_code`; anything else that escapes is a bug.
"""


class SinkscopeError(Exception):
    """Bad input or an unsupported request, told in one line.

    Args:
        message: what is wrong and what to do about it, without a line break.
        exit_code: 2 for a request that could never work (usage), 1 for one that failed on the way.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


def first_line(error: BaseException) -> str:
    """The first line of a message, with the next where the first only announces it; the error's name if it is empty."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
