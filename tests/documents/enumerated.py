"""Every way in which a document can be wrong, made of its declaration; and the command line, called in this process."""

import contextlib
import copy
import dataclasses
import io
import json
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from sinkscope.cli import main
from sinkscope.documents.read import problem
from sinkscope.provenance.declared import KINDS
from sinkscope.provenance.key import Key

Place = tuple[str | int, ...]

OTHER_NAME = "some"
"""A key of an object whose keys can be any."""
BROKEN: dict[str, bytes] = {
    "empty": b"",
    "cut": b'{"a": ',
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "deep": b'{"a":' * 100 + b"1" + b"}" * 100,
    "very deep": b"[" * 100_000,
    "not UTF-8": b'{"a": "\xff\xfe"}',
    "a number of many digits": b'{"a": ' + b"9" * 5000 + b"}",
}
"""Files that are no document at all."""
BROKEN_TOML = {
    "cut": b'name = "',
    "a list": b"[[]]",
    "very deep": b"a = " + b"[" * 100_000,
    "not UTF-8": b'name = "\xff\xfe"',
    "a number of many digits": b"seed = " + b"9" * 5000,
}


class Answer(NamedTuple):
    """How a command ended, and what it said on stderr."""

    code: int
    said: list[str]


def command(*arguments: object) -> Answer:
    """Runs the command line; what escapes from it escapes from here."""
    errors, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(printed):
        code = main([str(argument) for argument in arguments])
    return Answer(code, errors.getvalue().splitlines())


def listing(folder: Path) -> list[str]:
    """Everything below a folder, by name."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fields(document: Any) -> Iterator[Place]:
    """The place of every declared value of a document, those inside lists and objects too."""
    for name, hint in _own(document).items():
        yield (name,)
        for place in _inside(hint):
            yield (name, *place)


def _own(document: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(document):
        return typing.get_type_hints(document)
    assert issubclass(document, BaseModel)
    named = {info.alias or name: info.annotation for name, info in document.model_fields.items()}
    others = typing.get_type_hints(document).get("__pydantic_extra__")
    return named if document.model_config.get("extra") != "allow" else {**named, OTHER_NAME: typing.get_args(others)[1]}


def _inside(hint: Any) -> Iterator[Place]:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, BaseModel)):
        yield from fields(hint)
    elif origin in (list, dict):
        key = 0 if origin is list else OTHER_NAME
        yield (key,)
        for place in _inside(inner[-1]):
            yield (key, *place)
    elif origin is typing.Annotated:
        yield from _inside(inner[0])
    else:
        for each in inner:
            yield from _inside(each)


def with_value(content: Any, place: Place, value: Any) -> Any:
    """A copy of a document with another value at a place, which is made where it is not there."""
    content = copy.deepcopy(content)
    inner = content
    for part, following in zip(place, (*place[1:], None), strict=True):
        if isinstance(part, int) and not inner:
            inner.append(None)
        if following is None:
            inner[part] = value
            return content
        there = inner[part] if isinstance(part, int) else inner.get(part)
        kind = list if isinstance(following, int) else dict
        if not isinstance(there, kind):
            inner[part] = kind()
        inner = inner[part]
    raise AssertionError("a place has a part")


def without(content: Any, place: Place) -> Any | None:
    """A copy of a document without the value at a place; None where there is none."""
    content = copy.deepcopy(content)
    inner = content
    for part in place[:-1]:
        if not isinstance(inner, dict | list) or (part not in inner if isinstance(inner, dict) else not inner):
            return None
        inner = inner[part]
    if not isinstance(inner, dict) or place[-1] not in inner:
        return None
    del inner[place[-1]]
    return content


def refused_contents(content: Any, document: Any, odd: tuple[Any, ...]) -> Iterator[tuple[Place, Any]]:
    """Contents that differ from a right one in one place, where its declaration refuses what stands there."""
    for place in fields(document):
        changed = [with_value(content, place, value) for value in odd]
        less = without(content, place)
        for each in [*changed, *([] if less is None else [less])]:
            if problem(each, document) is not None:
                yield place, each


def toml_of(content: dict[str, Any]) -> str:
    """A document in TOML, all tables but the outermost inline."""
    return "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in content.items() if value is not None)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(each) for each in value if each is not None) + "]"
    return json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


def example_of(kind: str) -> dict[str, Any]:
    """A run.json with a value at every key that is declared for a kind of run, and no tables."""
    content: dict[str, Any] = _example("", KINDS[kind].keys)
    return {**content, "kind": kind, "schema": 1, "tables": []}


def _example(prefix: str, keys: tuple[Key, ...]) -> Any:
    own = [key for key in keys if key.name.startswith(prefix) and "." not in key.name.removeprefix(prefix)]
    return {key.name.removeprefix(prefix).replace("*", OTHER_NAME): _value(key, keys) for key in own}


def _value(key: Key, keys: tuple[Key, ...]) -> Any:
    kind = key.alternatives[0]
    if kind == "object":
        return _example(f"{key.name}.", keys)
    if kind == "list of objects":
        return [_example(f"{key.name}[].", keys)]
    plain = {"text": "text", "integer": max(key.least, 1), "number": 1.0, "boolean": True, "null": None}
    return [plain[kind.removeprefix("list of ")]] if kind.startswith("list of ") else plain[kind]
