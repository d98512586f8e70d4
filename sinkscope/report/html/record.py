"""run.json for a reader: names and values, as nested as they are."""

from collections.abc import Mapping, Sequence
from typing import Any

from sinkscope.report.html.markup import element, escaped

_ROWS = 3  # entries of one make from which on a list is shown as a table


def record_html(info: Mapping[str, Any]) -> str:
    """A section per part of run.json that has parts itself, after one with all that has none."""
    plain = {name: value for name, value in info.items() if not _nested(value)}
    nested = {name: value for name, value in info.items() if _nested(value)}
    sections = [_section("run", plain, opened=True)]
    return "\n".join(sections + [_section(name, value) for name, value in nested.items()])


def _section(name: str, value: Any, *, opened: bool = False) -> str:
    summary = element("summary", element("h3", escaped(_title(name))))
    body = element("div", _value(value), class_="wide", tabindex="0", role="region", aria_label=_title(name))
    return element("details", summary, body, open="" if opened else None)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        rows = (
            element("tr", element("th", escaped(_title(name)), scope="row"), element("td", _value(inner)))
            for name, inner in value.items()
        )
        return element("table", element("tbody", *rows), class_="facts") if value else "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _list(value)
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escaped(f"{value:.6g}" if isinstance(value, float) else value)


def _list(values: Sequence[Any]) -> str:
    if not any(_nested(value) for value in values):
        return ", ".join(_value(value) for value in values) or "none"
    names = [tuple(value) if isinstance(value, Mapping) else () for value in values]
    if len(values) >= _ROWS and len(set(names)) == 1 and not any(map(_nested, _inside(values))):
        head = "".join(element("th", escaped(_title(name)), scope="col") for name in names[0])
        rows = (element("tr", *(element("td", _value(cell)) for cell in value.values())) for value in values)
        return element("table", element("thead", element("tr", head)), element("tbody", *rows))
    return element("ol", *(element("li", _value(value)) for value in values))


def _inside(values: Sequence[Any]) -> list[Any]:
    return [cell for value in values if isinstance(value, Mapping) for cell in value.values()]


def _nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return (
        isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(v, Mapping | list) for v in value)
    )


def _title(name: object) -> str:
    return str(name).replace("_", " ")
