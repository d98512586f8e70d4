"""From what pydantic finds to one line: the file, the field, what would be right there, and what stands there."""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

_LONGEST = 40  # letters of a value that a message shows

# What a value must be, by pydantic's name of the error; its context fills the braces.
_EXPECTED = {
    "greater_than_equal": "at least {ge}",
    "greater_than": "above {gt}",
    "less_than_equal": "at most {le}",
    "less_than": "below {lt}",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "string_unicode": "text that UTF-8 can hold",
    "string_too_short": "text with something in it",
    "string_too_long": "text of at most {max_length} letters",
    "list_type": "a list",
    "too_short": "one that holds something",
    "none_required": "null",
    "dict_type": "an object",
    "model_type": "an object",
    "dataclass_type": "a table",
    "literal_error": "one of {expected}",
    "value_error": "{error}",
}


class Complaint(NamedTuple):
    """The first thing that is wrong with a document: where, as `runs[0].name` and empty for all of it, and what."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"'{self.where}' {self.what}" if self.where else f"it {self.what}"


def complaint(error: ValidationError, value: Any, document: Any) -> Complaint:
    """The first thing that is wrong with a document.

    Args:
        error: what pydantic found.
        value: what was checked.
        document: the declaration that it was checked against.
    """
    found = error.errors(include_url=False)
    first = found[0]
    path = _path(first["loc"], value, first["type"])
    where = dotted(path)
    if first["type"] == "missing":
        return Complaint(where, "is missing")
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = ", ".join(dotted([*path[:-1], name]) for name in _fields_at(document, path[:-1]))
        return Complaint(where, f"is no key here; known are {known}")
    # The members of a union complain one after the other, each at the same place or inside it.
    alike = [each for each in found if _path(each["loc"], value, each["type"])[: len(path)] == path]
    expected = " or ".join(dict.fromkeys(_expected(each) for each in alike if len(each["loc"]) >= len(first["loc"])))
    return Complaint(where, f"must be {expected}, not {shown(first['input'])}")


def dotted(path: Sequence[str | int]) -> str:
    """A place in a document, as `runs[0].name`; long and strange names shortened and escaped."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{_escaped(part)}"
    return text


def shown(value: Any) -> str:
    """A value for a message: containers by kind, all else in at most some letters, none of them a control character."""
    if isinstance(value, dict) or dataclasses.is_dataclass(value):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and abs(value) >= 10**_LONGEST:
        return "a number of that many digits"
    return f"'{_escaped(value)}'" if isinstance(value, str) else _escaped(str(value))


def _escaped(text: str) -> str:
    text = ascii(text[: _LONGEST + 1])[1:-1]
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _expected(found: Any) -> str:
    if found["type"] == "literal_error":
        return "one of " + str(found["ctx"]["expected"]).replace("'", "").replace(" or ", ", ")
    pattern = _EXPECTED.get(found["type"])
    if pattern is None:
        return str(found["msg"])
    bounds = {key: f"{each:g}" if isinstance(each, float) else each for key, each in found.get("ctx", {}).items()}
    return pattern.format(**bounds)


def _path(loc: Sequence[Any], value: Any, kind: str) -> list[str | int]:
    """The keys and places of an error, without pydantic's own names of union members and validators between them."""
    path: list[str | int] = []
    for number, part in enumerate(loc):
        inside = (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        )
        if inside:
            path.append(part)
            value = value[part]
        elif kind == "missing" and number == len(loc) - 1:
            path.append(part)
    return path


def _fields_at(document: Any, path: Sequence[str | int]) -> list[str]:
    """The names that a declaration has at a place."""
    for part in path:
        if isinstance(part, str):
            hint = typing.get_type_hints(document).get(part)
            document = next((each for each in (hint, *typing.get_args(hint)) if _declares(each)), None)
    if document is None:
        return []
    if dataclasses.is_dataclass(document):
        return [field.name for field in dataclasses.fields(document)]
    return list(document.model_fields)


def _declares(hint: Any) -> bool:
    return isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel))
