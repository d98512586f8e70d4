"""A summary made for the terminal as HTML: its lines, lists and tables as paragraphs, lists and tables.

The words of a run are said in one place, its kind's summary (`sinkscope.report.kinds`), and shown here as there.
"""

import io
from collections.abc import Iterator

from rich.console import Console, Group, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from sinkscope.report.html.markup import element, escaped

_WIDE = 400  # columns: nothing is left out or broken for want of width
_BULLET = "- "
_COLOURS = {"blue": "lower", "red": "higher", "green": "same"}  # by name: the page has its own shades


def summary_html(summary: RenderableType) -> str:
    """The summary: its first lines, then what was found, then the rest in its order."""
    console = Console(file=io.StringIO(), width=_WIDE, color_system="standard", force_terminal=True)
    blocks = list(_blocks(parts_of(summary, console), console))
    opening = next((place for place, block in enumerate(blocks) if not block.startswith("<p>")), len(blocks))
    blocks[opening:] = sorted(blocks[opening:], key=lambda block: not block.startswith("<ul "))
    return "\n".join(blocks)


def parts_of(thing: object, console: Console) -> Iterator[object]:
    """Lines, tables and whatever else stands in a summary, one after the other."""
    if isinstance(thing, str):
        yield Text.from_markup(thing)
    elif isinstance(thing, Text | Table):
        yield thing
    elif isinstance(thing, Group):
        for part in thing.renderables:
            yield from parts_of(part, console)
    elif hasattr(thing, "__rich_console__"):
        inside = list(thing.__rich_console__(console, console.options))
        if any(isinstance(part, Segment) for part in inside):  # one of rich's own, which is letters already
            yield "".join(part.text for part in console.render(thing))
        else:
            for part in inside:
                yield from parts_of(part, console)
    else:
        raise TypeError(f"a summary holds something that has no HTML: {type(thing).__name__}")


def _blocks(parts: Iterator[object], console: Console) -> Iterator[str]:
    items: list[str] = []
    for part in parts:
        item = isinstance(part, Text) and part.plain.startswith(_BULLET)
        if items and not item:
            yield element("ul", *items, class_="findings")
            items = []
        if isinstance(part, Table):
            yield _table(part, console)
        elif isinstance(part, Text):
            if item:
                items.append(element("li", _words(part[len(_BULLET) :], console)))
            else:
                yield element("p", _words(part, console))
        else:
            yield element("pre", escaped(part))
    if items:
        yield element("ul", *items, class_="findings")


def _table(table: Table, console: Console) -> str:
    """The table; cells of its first column that are not empty head their row."""
    numeric = ["number" if column.justify == "right" else None for column in table.columns]
    classes = [" ".join(filter(None, (side, _looks(str(column.style))))) or None
               for side, column in zip(numeric, table.columns, strict=True)]  # fmt: skip
    head = "".join(
        element("th", _words(_text(column.header), console), scope="col", class_=side)
        for column, side in zip(table.columns, numeric, strict=True)
    )
    rows = []
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        first, *others = (_words(_text(cell), console) for cell in cells)
        named = element("th", first, scope="row") if first else "<td></td>"
        rest = (element("td", cell, class_=kind) for cell, kind in zip(others, classes[1:], strict=True))
        rows.append(element("tr", named, *rest))
    body = f"<thead><tr>{head}</tr></thead>\n<tbody>\n" + "\n".join(rows) + "\n</tbody>"
    return element("div", element("table", body), class_="wide", tabindex="0", role="region", aria_label="Numbers")


def _text(cell: object) -> Text:
    return cell if isinstance(cell, Text) else Text.from_markup(str(cell))


def _words(text: Text, console: Console) -> str:
    """The text with its bold, pale and coloured parts marked."""
    marked = []
    for segment in Text().append_text(text).render(console):  # with the style of the whole text too
        style = segment.style
        colour = style.color.name if style is not None and style.color is not None else ""
        looks = _looks(" ".join(name for name in (
            "bold" if style is not None and style.bold else "",
            "dim" if style is not None and style.dim else "",
            colour,
        ) if name))  # fmt: skip
        words = escaped(segment.text)
        marked.append(element("span", words, class_=looks) if looks else words)
    return "".join(marked)


def _looks(style: str) -> str:
    """Classes for a style as rich writes it."""
    words = style.split()
    classes = ["strong"] if "bold" in words else []
    classes += ["pale"] if "dim" in words else []
    return " ".join(classes + [_COLOURS[word] for word in words if word in _COLOURS])
