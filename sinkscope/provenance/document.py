"""run.json as a document that is read: pydantic models made of the declaration of its keys."""

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Union

from pydantic import BaseModel, ConfigDict, Field, Strict, create_model

from sinkscope.documents.types import Flag, Number, Text, Whole
from sinkscope.provenance.declared import KINDS
from sinkscope.provenance.key import Key

_SCALARS: dict[str, Any] = {"text": Text, "number": Number, "boolean": Flag, "null": None}


class Kind(BaseModel):
    """What says how all else in a run.json is to be read."""

    kind: Text
    schema_: Whole

    model_config = ConfigDict(alias_generator=lambda name: name.rstrip("_"))


@cache
def document_of(kind: str, *, but: tuple[str, ...] = ()) -> type[BaseModel]:
    """The declaration of a kind of run as a pydantic model.

    Args:
        kind: one of `provenance.declared.KINDS`.
        but: keys that are not there.
    """
    return _model(kind, "", [key for key in KINDS[kind].keys if key.name not in but])


def _model(name: str, prefix: str, keys: Sequence[Key]) -> type[BaseModel]:
    """A model of the keys directly below a prefix; names that are not declared are passed over."""
    fields: dict[str, Any] = {}
    other: Any = None
    for key in keys:
        own = key.name.removeprefix(prefix)
        if not key.name.startswith(prefix) or "." in own or not own:
            continue
        if own == "*":
            other = _type(key, keys)
        else:
            fields[_field(own)] = (
                (_type(key, keys), ...) if key.always and not key.added else (_type(key, keys) | None, None)
            )
    config = ConfigDict(
        extra="ignore" if other is None else "allow", alias_generator=_alias, protected_namespaces=(), strict=True
    )
    namespace = {} if other is None else {"__annotations__": {"__pydantic_extra__": dict[str, other]}}
    base = type("Base", (BaseModel,), {"model_config": config, **namespace, "__module__": __name__})
    made: type[BaseModel] = create_model(name, __base__=base, **fields)
    return made


def _type(key: Key, keys: Sequence[Key]) -> Any:
    """The type of a key's values."""
    types: list[Any] = []
    for word in key.alternatives:
        if word == "object":
            types.append(_model(key.name, f"{key.name}.", keys))
        elif word == "list of objects":
            types.append(list[_model(key.name, f"{key.name}[].", keys)])  # type: ignore[misc]
        elif word.startswith("list of "):
            types.append(list[_bounded(word.removeprefix("list of "), key)])  # type: ignore[misc]
        else:
            types.append(_bounded(word, key))
    return Union[tuple(types)]  # noqa: UP007  (made of values)


def _bounded(word: str, key: Key) -> Any:
    """The type of a word, an integer within the key's bounds."""
    return Annotated[int, Strict(), Field(ge=key.least, le=key.most)] if word == "integer" else _SCALARS[word]


def _field(name: str) -> str:
    """A name that a pydantic field may have: its classes have attributes of their own."""
    return f"{name}_"


def _alias(name: str) -> str:
    return name.removesuffix("_")
