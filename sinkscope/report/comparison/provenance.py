"""Where every compared number came from: model, data and command of each run, seeds included."""

from collections.abc import Callable
from typing import Any

from sinkscope.report import style
from sinkscope.report.analysis.headline_rows import data_line, model_line
from sinkscope.report.analysis.provenance import in_words, stored_types
from sinkscope.report.comparison.runs import mismatch
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page, write
from sinkscope.report.text import fitted, printable
from sinkscope.tables.run_folder import Run

_PER_PAGE = 8
_PAGES = 4  # 32 runs; more stand in run.json alone
_HEIGHT = 0.168  # of a run's section
_NAMES = 0.075
_STEP = style.SMALL * 1.4 / style.POINTS[1]


def _measured(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """Every measured run with its number, name and seed."""
    measured = []
    for number, entry in enumerate(run.info["runs"], start=1):
        for seed, info in enumerate(entry["measured"]):
            words = f"{number} {printable(entry['name'])}" + (f", seed {seed}" if entry["seeds"] > 1 else "")
            measured.append((words, info))
    return measured


def _draw(sheet: int) -> Callable[[Run], Page]:
    def draw(run: Run) -> Page:
        page, measured = Page(), _measured(run)
        columns = 1 if len(measured) <= _PER_PAGE // 2 else 2
        width = (RIGHT - LEFT) / columns
        for place, (title, info) in enumerate(measured[sheet * _PER_PAGE : (sheet + 1) * _PER_PAGE]):
            left = LEFT + width * (place % columns)
            _section(page, title, info, 0.895 - _HEIGHT * (place // columns), left, left + width - 0.01)
        _settings(page, run, 0.895 - _HEIGHT * 4)
        return page

    return draw


def _section(page: Page, title: str, info: dict[str, Any], top: float, left: float, right: float) -> None:
    room = (right - left) * style.POINTS[0]
    top -= 0.022
    write(page, left, top, fitted(title, room, style.BODY, "bold"), size=style.BODY, weight="bold", color=style.BLUE)
    described = Run(info, {})
    model, versions = info["model"], info["versions"]
    facts = {
        "model": model_line(described),
        "weights": _weights(model),
        "data": data_line(described),
        "windows": f"sha256 {info['data'].get('sha256') or 'unknown'}",
        "measured": f"{info['created']} on {info['device']}, sinkscope {info['sinkscope']}, "
        + ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers") if name in versions),
        "command": info.get("command") or "not recorded: measured through the library",
    }
    for name, value in facts.items():
        top -= _STEP
        write(page, left, top, name, size=style.SMALL, color=style.GREY)
        text = fitted(printable(value), room - _NAMES * style.POINTS[0], style.SMALL)
        write(page, left + _NAMES, top, text, size=style.SMALL)


def _weights(model: dict[str, Any]) -> str:
    stored = f"; GGUF, {stored_types(model['gguf'])}" if "gguf" in model else ""
    if model.get("revision"):
        return f"revision {model['revision']}{stored}"
    known = f"sha256 {model['weights_sha256']}" if model.get("weights_sha256") else "hash unknown"
    return f"{known}{stored}"


def _settings(page: Page, run: Run, top: float) -> None:
    room = (RIGHT - LEFT) * style.POINTS[0]
    settings = run.info["settings"]
    measured = run.info["runs"][0]["measured"][0]["settings"]
    lines = [
        "Comparison: " + in_words(settings)
        + f"; sinkscope {run.info['sinkscope']}, {run.info['created']}",
        "Settings of the reference: " + in_words(measured),
    ]  # fmt: skip
    if run.info["mismatches"]:
        lines.append(f"Differing: {mismatch(run)}")
    for line in lines:
        top -= _STEP
        write(page, LEFT, top, fitted(printable(line), room, style.SMALL), size=style.SMALL, color=style.GREY)


ENTRIES = tuple(
    Entry(
        "provenance" if sheet == 0 else f"provenance_{sheet + 1}",
        "Provenance of the compared runs" + ("" if sheet == 0 else f", continued ({sheet + 1})"),
        _draw(sheet),
        "The same is in run.json, with every setting, version and headline number of each run; the definitions of "
        "ratios, intervals and verdicts stand there under conventions.",
        applies=lambda run, sheet=sheet: len(_measured(run)) > sheet * _PER_PAGE,  # type: ignore[misc]
        words=True,
    )
    for sheet in range(_PAGES)
)
