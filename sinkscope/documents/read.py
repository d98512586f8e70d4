"""Reading a document: a file of limited size and depth, whose values are what its declaration says.

A document is a few kilobytes that decide how gigabytes are read, and anybody may have written it. So nothing of one is
used before all of it was checked, and whatever is wrong with it ends in one line.
"""

import json
import stat
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from sinkscope.documents.complaint import Complaint, complaint
from sinkscope.errors import SinkscopeError

T = TypeVar("T")

LARGEST = 64 << 20  # bytes; the index of the largest models is a tenth of that
DEEPEST = 64  # levels


def read(
    path: Path, document: type[T], called: str | None = None, *, wrong: type[SinkscopeError] = SinkscopeError
) -> T:
    """Reads and checks a JSON document.

    Args:
        path: the file.
        document: its declaration: a pydantic model, or any type that pydantic checks.
        called: what messages call the file; by default its path.
        wrong: the error to raise.

    Raises:
        SinkscopeError: if the file cannot be read, is no JSON, or says something else than declared.
    """
    return check(read_json(path, called, wrong=wrong), document, called or str(path), wrong=wrong)


def read_if_there(path: Path, document: type[T], called: str | None = None) -> T | None:
    """The same; None where nothing has that name."""
    return read(path, document, called) if path.exists() else None


def check(value: Any, document: type[T], called: str, *, wrong: type[SinkscopeError] = SinkscopeError) -> T:
    """Holds the content of a document against its declaration.

    Args:
        value: the content.
        document: the declaration.
        called: what messages call it.
        wrong: the error to raise.

    Raises:
        SinkscopeError: naming the first field that is not as declared.
    """
    try:
        checked: T = _adapter(cast("Any", document)).validate_python(value)
    except ValidationError as error:
        raise wrong(f"{called}: {complaint(error, value, document)}") from error
    return checked


def problem(value: Any, document: Any) -> Complaint | None:
    """The first thing that is not as declared, for who names the field otherwise; None where all is."""
    try:
        _adapter(document).validate_python(value)
    except ValidationError as error:
        return complaint(error, value, document)
    return None


@cache
def _adapter(document: Any) -> TypeAdapter[Any]:
    """Pydantic's view of a declaration."""
    return TypeAdapter(document)


def read_json(path: Path, called: str | None = None, *, wrong: type[SinkscopeError] = SinkscopeError) -> Any:
    """A JSON file's content, limited in size and depth; what it says is not checked.

    Raises:
        SinkscopeError: if it cannot be read or is no JSON.
    """
    called = called or str(path)
    return json_of(_text(path, "JSON", called, wrong), called, wrong=wrong)


def read_toml(path: Path, called: str | None = None, *, wrong: type[SinkscopeError] = SinkscopeError) -> dict[str, Any]:
    """A TOML file's content, limited in size and depth; what it says is not checked.

    Raises:
        SinkscopeError: if it cannot be read or is no TOML.
    """
    called = called or str(path)
    content: dict[str, Any] = _parsed(_text(path, "TOML", called, wrong), tomllib.loads, "TOML", called, wrong)
    return content


def json_of(text: str, called: str, *, wrong: type[SinkscopeError] = SinkscopeError) -> Any:
    """What a text in JSON says, limited in depth.

    Raises:
        SinkscopeError: if it is no JSON.
    """
    return _parsed(text, json.loads, "JSON", called, wrong)


def _text(path: Path, kind: str, called: str, wrong: type[SinkscopeError]) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would wait for ever, and a device never end
            raise wrong(f"{called} is not a file")
        if found.st_size > LARGEST:
            raise wrong(f"{called} has {found.st_size >> 20} MiB, and no such document has more than {LARGEST >> 20}")
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise wrong(f"cannot read {called}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        where = f"{error.reason} at byte {error.start}"
        raise wrong(f"{called} is not valid {kind}: it is not UTF-8 text ({where})") from error


def _parsed(text: str, parse: Callable[[str], Any], kind: str, called: str, wrong: type[SinkscopeError]) -> Any:
    try:
        content = parse(text)
    except RecursionError as error:
        raise wrong(f"{called} nests deeper than {DEEPEST} levels") from error
    except ValueError as error:
        digits = "set_int_max_str_digits" in str(error)  # Python's way to say that it will not convert a number
        reason = "it has a number of thousands of digits" if digits else error
        raise wrong(f"{called} is not valid {kind}: {reason}") from error
    if _deeper(content, DEEPEST):
        raise wrong(f"{called} nests deeper than {DEEPEST} levels")
    return content


def _deeper(content: Any, levels: int) -> bool:
    """Whether containers lie in each other more than so many levels deep."""
    level = [content]
    while levels:
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, list):
                below += each
        level, levels = below, levels - 1
    return any(isinstance(each, dict | list) for each in level)
