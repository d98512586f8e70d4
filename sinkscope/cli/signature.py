"""From the fields of requests to the options of a verb.

A verb is a function of a few request objects. `command` turns it into a function with one parameter per field, which
typer then reads; what a person types comes back as the objects. What of a request a verb offers, and where its sentence
or default differs from the field's own, stands in the verb's signature:

    def track(model: Annotated[ModelSource, Offered(but=["name"])], text: TextSource, ...) -> None:
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any

import typer

from sinkscope.cli.flags import with_flags
from sinkscope.errors import RequestError
from sinkscope.fields import Description, descriptions
from sinkscope.progress.display import shown, stage

_NOTHING = "none"  # typed, it stands for an empty list


class Offered:
    """The fields of a request that a verb offers.

    Args:
        *names: which, in the order of their listing; all in their own order where there are none.
        but: those that are not offered, where there are no names.
        **changes: by field, what its description says differently, and `default`.
    """

    def __init__(self, *names: str, but: Sequence[str] = (), **changes: Mapping[str, Any]) -> None:
        self.names = names
        self.but = but
        self.changes = changes


@dataclass(frozen=True)
class _Option:
    """One option of a verb: the request and field that it fills, and typer's view of it."""

    request: str
    field: str
    parameter: inspect.Parameter
    description: Description
    items: type | None  # of a field that holds several, typed with commas between them
    nullable: bool


def command(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with an option for every field of its requests."""
    hints = typing.get_type_hints(verb, include_extras=True)
    requests: dict[str, type] = {}
    options: list[_Option] = []
    plain: list[inspect.Parameter] = []
    listed: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        kind, offered = _request(hints[name])
        if kind is None:
            plain.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            listed.append(plain[-1])
            continue
        requests[name] = kind
        made = _options(name, kind, offered)
        options += made
        listed += [option.parameter for option in made]
    listed = _in_order(listed, options)

    def run(**values: Any) -> None:
        own = {parameter.name: values[parameter.name] for parameter in plain}
        arguments = {name: value.expanduser() if isinstance(value, Path) else value for name, value in own.items()}
        for name, kind in requests.items():
            mine = [option for option in options if option.request == name]
            arguments[name] = kind(**{option.field: _value(option, values[option.parameter.name]) for option in mine})
        with shown(True, with_flags):  # the stages of whatever it calls, from its first import on
            stage("importing")
            verb(**arguments)

    run.__name__, run.__doc__ = verb.__name__, verb.__doc__
    run.__signature__ = inspect.Signature(listed)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in listed}
    return run


def _request(hint: Any) -> tuple[type | None, Offered]:
    """The request class in an annotation, and what of it is offered; None for a parameter of the verb's own."""
    kind, *more = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
    offered = next((one for one in more if isinstance(one, Offered)), Offered())
    return (kind, offered) if dataclasses.is_dataclass(kind) and isinstance(kind, type) else (None, offered)


def _options(request: str, kind: type, offered: Offered) -> list[_Option]:
    hints = typing.get_type_hints(kind)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    known = descriptions(kind)
    made = []
    for name in offered.names or [name for name in known if name not in offered.but]:
        changes = dict(offered.changes.get(name, {}))
        default = changes.pop("default", fields[name].default)
        description = dataclasses.replace(known[name], **changes)
        hint, items = _typed(hints[name])
        nullable = type(None) in typing.get_args(hints[name])
        if items is not None and default is not None:
            default = ",".join(map(str, default)) or None
            hint = str if default is not None else hint
        if description.only_off:
            default = not default
        parameter = inspect.Parameter(
            _parameter_name(name, description),
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if default is dataclasses.MISSING else default,
            annotation=Annotated[hint, _info(name, description)],
        )
        made.append(_Option(request, name, parameter, description, items, nullable))
    return made


def _typed(hint: Any) -> tuple[Any, type | None]:
    """The type that is typed for a field, and the type of its items where commas separate several."""
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    several = next((choice for choice in choices if typing.get_origin(choice) is tuple), None)
    return (hint, None) if several is None else (str | None, typing.get_args(several)[0])


def _parameter_name(name: str, description: Description) -> str:
    name = description.option or name
    name = f"no_{name}" if description.only_off else name
    return f"{name}_" if name in ("compile", "format", "set") or iskeyword(name) else name


def _info(name: str, description: Description) -> Any:
    """Typer's declaration."""
    text = with_flags(description.text)
    if description.positional:
        return typer.Argument(help=text, metavar=description.values)
    flag = "--" + (description.option or name).replace("_", "-")
    if description.only_off:
        flag = flag.replace("--", "--no-", 1)
    if description.both_ways:
        flag = f"{flag}/{flag.replace('--', '--no-', 1)}"
    return typer.Option(flag, help=text, rich_help_panel=str(description.section), metavar=description.values)


def _in_order(listed: list[inspect.Parameter], options: list[_Option]) -> list[inspect.Parameter]:
    """The parameters as they are listed: those that stand before another one are moved there."""
    names = {option.field: option.parameter.name for option in options}
    for option in options:
        place = names.get(option.description.before or "")
        if place is not None:
            listed.remove(option.parameter)
            listed.insert([parameter.name for parameter in listed].index(place), option.parameter)
    return listed


def _value(option: _Option, typed: Any) -> Any:
    """A field's value from what was typed."""
    if option.description.only_off:
        return not typed
    if isinstance(typed, Path):
        return typed.expanduser()
    if isinstance(typed, list):
        return tuple(typed)
    if option.items is None:
        return typed
    if typed is None:
        return None if option.nullable else ()
    texts = [item.strip() for item in typed.split(",") if item.strip()]
    if option.description.or_none and texts == [_NOTHING]:
        return ()
    try:
        return tuple(dict.fromkeys(option.items(text) for text in texts))
    except ValueError as error:
        raise RequestError(f"`{option.field}` takes whole numbers by commas, as 512,1024, not {typed}") from error
