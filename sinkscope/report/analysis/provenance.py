"""Everything that a reader needs to repeat or to doubt a number."""

from collections.abc import Mapping
from typing import Any

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import CAPTION_TOP, LEFT, RIGHT, Page, paragraph, write
from sinkscope.report.text import printable, wrapped
from sinkscope.report.under import method_facts
from sinkscope.tables.run_folder import Run

_MIDDLE = 0.5
_NAMES = 0.13  # width of the column of names, as a fraction of the page
_TOP, _LOWEST = 0.895, CAPTION_TOP + 0.01  # of the columns: below the subtitle, above the caption
_HEADING = 0.026
_LEADING = 1.25


def draw(run: Run) -> Page:
    """Run, model and data on the left, settings, versions and conventions on the right; what has no room moves on.

    What then finds none is left to run.json.
    """
    page, info = Page(), run.info
    tops = [_TOP, _TOP]
    sections = [("Run", run_facts(run)), ("Model", model_facts(info["model"])), ("Data", info["data"])]
    for title, facts in sections:
        column = 0 if tops[0] - section_height(facts, _MIDDLE - 0.02 - LEFT) > _LOWEST else 1
        left, right = (LEFT, _MIDDLE - 0.02) if column == 0 else (_MIDDLE, RIGHT)
        tops[column] = section(page, title, facts, tops[column], left, right)
    for name in ("settings", "versions", "conventions"):
        facts = _fitting(info[name], tops[1], RIGHT - _MIDDLE)
        tops[1] = section(page, name.capitalize(), facts, tops[1], _MIDDLE, RIGHT) if facts else tops[1]
    return page


def _fitting(facts: Mapping[str, Any], top: float, width: float) -> dict[str, Any]:
    """The first of the facts, as many as fit below `top`; all are in run.json, as the caption says."""
    kept: dict[str, Any] = {}
    for name, value in facts.items():
        if top - section_height({**kept, name: value}, width) < _LOWEST:
            break
        kept[name] = value
    return kept


def run_facts(run: Run) -> dict[str, Any]:
    """When, where and by which command a run was made, and what it took."""
    info = run.info
    return {
        "command": info.get("command", "not recorded: measured through the library"),
        "sinkscope": info["sinkscope"],
        "created": info["created"],
        "device": info["device"],
        "duration": f"{info['seconds']:,.1f} s",
        "peak memory": f"{info['peak_memory_bytes'] / 2**20:,.0f} MiB",
    }


def model_facts(model: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json says of a model, a GGUF file and a method in words; the file's hash is that of the weights."""
    facts = {name: value for name, value in model.items() if name not in ("gguf", "method", "deviations")}
    facts |= method_facts(model)
    for deviation in model.get("deviations", ()):  # what they are; their names are in run.json
        of = f"{deviation['count']:,} tensors: " if deviation["count"] else ""
        facts[f"deviation: {deviation['kind']}"] = f"{of}{deviation['why']}"
    if "gguf" in model:
        facts |= {"gguf_file": model["gguf"]["file"], "gguf_tensors": stored_types(model["gguf"])}
    return facts


def stored_types(gguf: Mapping[str, Any]) -> str:
    """How many tensors a GGUF file stores in which type, in words."""
    return ", ".join(f"{count} in {name}" for name, count in gguf["tensors"].items())


def section(page: Page, title: str, facts: dict[str, Any], top: float, left: float, right: float) -> float:
    """Named facts below a title, between `left` and `right`; returns the top for what comes below."""
    top -= _HEADING
    write(page, left, top + 0.004, title, size=style.BODY, weight="bold", color=style.BLUE)
    for name, value in facts.items():
        write(page, left, top - 0.0158, printable(name, 22).replace("_", " "), size=style.SMALL, color=style.GREY)
        top = paragraph(
            page, in_words(value), top=top, left=left + _NAMES, right=right, size=style.SMALL, leading=_LEADING
        )
    return top


def section_height(facts: Mapping[str, Any], width: float) -> float:
    """What `section` takes of the page's height, in a column of a width."""
    room = (width - _NAMES) * style.POINTS[0]
    lines = sum(len(wrapped(in_words(value), room, style.SMALL)) for value in facts.values())
    return _HEADING + lines * style.SMALL * _LEADING / style.POINTS[1]


def in_words(value: Any) -> str:
    """A value of run.json as a reader of English writes it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {in_words(of)}" for name, of in value.items()) or "none"
    return printable(value, 200)


ENTRY = Entry(
    "provenance",
    "Provenance: how these numbers came about",
    draw,
    "The same is in run.json, and every number of this report in the parquet tables beside it. A value depends on its "
    "conventions: compare across tools and papers only where they agree.",
    words=True,
)
