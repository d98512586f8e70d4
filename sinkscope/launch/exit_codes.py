"""How a process ends after an error: 2 where the request could never work, 1 where it failed on the way."""

from sinkscope.errors import RequestError

USAGE, FAILED = 2, 1


def exit_code(error: BaseException) -> int:
    """The exit code of a process that an error ended."""
    return USAGE if isinstance(error, RequestError) else FAILED
