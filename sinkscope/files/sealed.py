"""What one process keeps for another carries its hash (SHA-256), which is checked when it is read.

A disk can lose bits, a copy can be cut short, a file can be edited or belong to something else. What goes on from such
a file ends in other numbers, and nothing says so. There are three forms, and each is its own witness:

- a JSON object, with the hash of its content under the key `content_sha256`;
- one file, with the hash of what comes before at its end (`seal`), where readers look from its end or at its head;
- a folder, whose files and their hashes stand in a sealed JSON object (`hashes`).

The hash guards against damage and mistakes, not against a forger.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from sinkscope.errors import SinkscopeError
from sinkscope.files.whole import write_json

_KEY = "content_sha256"  # no key of what is kept
_MARK = b"\nsinkscope sha256 "
_SIZE = len(_MARK) + 64


class DamagedError(SinkscopeError):
    """A kept file is not what was written.

    Args:
        place: which file.
        remedy: what to do about it.
    """

    def __init__(self, place: Path, remedy: str = "") -> None:
        self.place = place
        super().__init__(f"{place} is damaged, or was not written by sinkscope{f': {remedy}' if remedy else ''}")


def write_sealed(place: Path, content: dict[str, Any], *, indent: int | None = None) -> None:
    """Writes a JSON object with its hash, whole or not at all."""
    write_json(place, {**content, _KEY: _hash(content)}, indent=indent)


def read_sealed(place: Path, remedy: str = "") -> dict[str, Any] | None:
    """The JSON object of `write_sealed`; None where there is no file.

    Args:
        place: the file.
        remedy: what to do about a damaged one, for the message.

    Raises:
        DamagedError: if it is not what was written.
    """
    if not place.is_file():
        return None
    try:
        content = json.loads(place.read_text(encoding="utf-8"))
        seal = content.pop(_KEY)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(place, remedy) from error
    if seal != _hash(content):
        raise DamagedError(place, remedy)
    return dict(content)


def seal(file: Path) -> None:
    """Appends a file's hash to it."""
    digest = _file_hash(file)
    with file.open("ab") as end:
        end.write(_MARK + digest.encode())


def check_seal(file: Path, remedy: str = "") -> None:
    """Refuses a file that does not end in its own hash.

    Raises:
        DamagedError: if it does not.
    """
    size = file.stat().st_size - _SIZE
    with file.open("rb") as whole:
        digest = hashlib.sha256()
        left = size
        while left > 0 and (part := whole.read(min(left, 1 << 20))):
            digest.update(part)
            left -= len(part)
        end = whole.read(_SIZE)
    if size < 0 or end != _MARK + digest.hexdigest().encode():
        raise DamagedError(file, remedy)


def hashes(folder: Path) -> dict[str, str]:
    """The hashes of all files below a folder, by their relative names."""
    files = {}
    for around, _, names in os.walk(folder):
        for name in names:
            path = Path(around, name)
            files[path.relative_to(folder).as_posix()] = _file_hash(path)
    return dict(sorted(files.items()))


def check_hashes(folder: Path, expected: dict[str, str], remedy: str = "") -> None:
    """Refuses a folder one of whose files is missing or another than it was.

    Raises:
        DamagedError: naming the first such file.
    """
    for name, digest in expected.items():
        path = folder / name
        if not path.is_file() or _file_hash(path) != digest:
            raise DamagedError(path, remedy)


def content_hash(content: Any) -> str:
    """The hash of something that JSON can carry, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _hash(content: dict[str, Any]) -> str:
    return content_hash(json.loads(json.dumps(content)))  # as it is read back


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
