"""What the system refuses while something is written, in one line: a full disk, a folder without permission.

Libraries hide the system's error in their own: torch raises a RuntimeError, safetensors an error of its own kind.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sinkscope.errors import SinkscopeError

_HIDDEN = re.compile(
    r"No space left|File too large|quota exceeded|Permission denied|Read-only file system|Input/output error"
    r"|PytorchStreamWriter|unexpected pos|file write failed|cannot be opened",
    re.IGNORECASE,
)


@contextmanager
def explained_failures(place: Path, what: str = "") -> Iterator[None]:
    """Turns what the system refuses inside into one line.

    Args:
        place: what is written.
        what: it is, for the message, where the place does not say it: `a checkpoint`.

    Raises:
        SinkscopeError: if the system refuses to write.
    """
    try:
        yield
    except OSError as error:
        raise _failure(place, what, error.strerror or str(error)) from error
    except Exception as error:
        if isinstance(error, SinkscopeError) or not _HIDDEN.search(str(error)):
            raise
        raise _failure(place, what, str(error).strip().partition("\n")[0]) from error


def check_room(folder: Path, needed: int, what: str, remedy: str) -> None:
    """Refuses to write what would not fit.

    Args:
        folder: where; it must exist.
        needed: bytes.
        what: for the message.
        remedy: what to do about it, for the message.

    Raises:
        SinkscopeError: if less is free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise SinkscopeError(
            f"too little disk for {what}: it needs {needed / 2**30:.2f} GiB and {free / 2**30:.2f} GiB are free at "
            f"{folder}: {remedy}"
        )


def _failure(place: Path, what: str, reason: str) -> SinkscopeError:
    return SinkscopeError(f"cannot write {f'{what} to ' if what else ''}{place}: {reason}")
