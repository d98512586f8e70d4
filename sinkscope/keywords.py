"""The keyword arguments of the library's verbs, and the objects that are made of them.

`sinkscope.analyze("demo", sequences=4, dtype="bfloat16")` says the same as a `ModelSource` and `Windows` would. The
dictionaries here type such arguments; a test holds that they are the fields of the objects.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypedDict, TypeVar, get_args, get_type_hints

from sinkscope.errors import RequestError
from sinkscope.inputs import TextSource

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class ModelFields(TypedDict, total=False):
    """The fields of `ModelSource` but its name, as keyword arguments."""

    revision: str | None
    gguf_file: str | None
    dtype: str
    device: str
    device_map: str | None
    quantize: str | None
    trust_remote_code: bool
    adapter: str
    allow_deviations: bool


class MethodFields(TypedDict, total=False):
    """The fields of `MethodOptions`, as keyword arguments."""

    modules: str | None
    calibration_data: str | None
    calibration_sequences: int | None
    allow_install: bool
    environment: str | Path | None


class WindowFields(TypedDict, total=False):
    """The fields of `Windows`, as keyword arguments."""

    bos: str
    sequences: int | None
    tokens: int | None
    batch_size: int
    isolate_documents: bool
    budget: str | None


class OutputFields(TypedDict, total=False):
    """The fields of `Output`, as keyword arguments."""

    out: str | Path | None
    force: bool
    resume: bool


def text_source(data: str | Path | TextSource, options: Mapping[str, Any] | None = None) -> TextSource:
    """A text as a user of the library names it.

    Args:
        data: an object, or what its field `data` would hold.
        options: the object's other fields, where `data` is not one.
    """
    if isinstance(data, TextSource):
        if options:
            raise RequestError("options of a text stand in its TextSource: leave them out beside one")
        return data
    unknown = set(options or ()) - {field.name for field in fields(TextSource)}
    if unknown:
        raise RequestError(f"a text has no option {min(unknown)}")
    return TextSource(str(data), **(options or {}))


def listing(*requests: type[Any]) -> Callable[[F], F]:
    """Decorates a verb, so that `help` lists the fields of these objects as its keywords, with their defaults."""

    def decorated(verb: F) -> F:
        own = inspect.signature(verb)
        keywords = next(p for p in own.parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD)
        taken = get_type_hints(get_args(keywords.annotation)[0])
        shown = [p for p in own.parameters.values() if p is not keywords]
        shown += [
            inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=taken[one.name])
            for request in requests
            for one in fields(request)
            if one.name in taken
        ]
        verb.__signature__ = own.replace(parameters=shown)  # type: ignore[attr-defined]
        return verb

    return decorated


def made_of(request: type[T], values: Mapping[str, Any], **more: Any) -> T:
    """An object from those of the values that are its fields; a path given as text becomes a path.

    Args:
        request: a dataclass.
        values: keyword arguments, of this class and of others.
        **more: fields that stand over the values.
    """
    hints = get_type_hints(request)
    mine = {name: value for name, value in values.items() if name in hints} | more
    for name, value in mine.items():
        if Path in get_args(hints[name]) and isinstance(value, str | Path):
            mine[name] = Path(value).expanduser()
    return request(**mine)


def refuse_unknown(values: Mapping[str, Any], keywords: type[Any], verb: Callable[..., Any] | None = None) -> None:
    """Refuses keyword arguments that a function does not take, as Python does for a plain signature.

    Args:
        values: the keyword arguments.
        keywords: a TypedDict of those that it takes.
        verb: the function, whose other parameters are named too.

    Raises:
        TypeError: naming one.
    """
    known = get_type_hints(keywords)
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        own = inspect.signature(verb).parameters.values() if verb is not None else ()
        there = sorted({*known, *(one.name for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD)})
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; there are: {', '.join(there)}")
