"""Everything that a reader needs to repeat or to doubt a number."""

from collections.abc import Mapping
from typing import Any

from sinkscope.report import style
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page, paragraph, write
from sinkscope.report.text import printable
from sinkscope.report.under import method_facts
from sinkscope.tables.run_folder import Run

_MIDDLE = 0.5
_NAMES = 0.13  # width of the column of names, as a fraction of the page
_TITLES = {
    "model": "Model",
    "data": "Data",
    "settings": "Settings",
    "versions": "Versions",
    "conventions": "Conventions",
}


def draw(run: Run) -> Page:
    """Run, model, data, settings and versions on the left, conventions on the right."""
    page = Page()
    left = section(page, "Run", run_facts(run), 0.895, LEFT, _MIDDLE - 0.02)
    for name, facts in (("model", model_facts(run.info["model"])), ("data", run.info["data"])):
        left = section(page, _TITLES[name], facts, left, LEFT, _MIDDLE - 0.02)
    right = 0.895
    for name in ("settings", "versions", "conventions"):
        right = section(page, _TITLES[name], run.info[name], right, _MIDDLE, RIGHT)
    return page


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
    facts = {name: value for name, value in model.items() if name not in ("gguf", "method")} | method_facts(model)
    if "gguf" in model:
        facts |= {"gguf_file": model["gguf"]["file"], "gguf_tensors": stored_types(model["gguf"])}
    return facts


def stored_types(gguf: Mapping[str, Any]) -> str:
    """How many tensors a GGUF file stores in which type, in words."""
    return ", ".join(f"{count} in {name}" for name, count in gguf["tensors"].items())


def section(page: Page, title: str, facts: dict[str, Any], top: float, left: float, right: float) -> float:
    """Named facts below a title, between `left` and `right`; returns the top for what comes below."""
    top -= 0.026
    write(page, left, top + 0.004, title, size=style.BODY, weight="bold", color=style.BLUE)
    for name, value in facts.items():
        write(page, left, top - 0.0158, printable(name, 22).replace("_", " "), size=style.SMALL, color=style.GREY)
        top = paragraph(page, _value(value), top=top, left=left + _NAMES, right=right, size=style.SMALL, leading=1.25)
    return top


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {_value(of)}" for name, of in value.items()) or "none"
    return printable(value, 200)


ENTRY = Entry(
    "provenance",
    "Provenance: how these numbers came about",
    draw,
    "The same is in run.json, and every number of this report in the parquet tables beside it. A value depends on its "
    "conventions: compare across tools and papers only where they agree.",
    words=True,
)
