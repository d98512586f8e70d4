"""Everything that a reader needs to repeat or to doubt a number of an ablation."""

from collections.abc import Mapping
from typing import Any

from sinkscope.report.analysis.provenance import model_facts, run_facts, section
from sinkscope.report.entry import Entry
from sinkscope.report.page import LEFT, RIGHT, Page
from sinkscope.tables.run_folder import Run

_MIDDLE = 0.5


def draw(run: Run) -> Page:
    """Run, data and model on the left; settings, versions and conventions on the right."""
    page = Page()
    info = run.info
    left = section(page, "Run", run_facts(run), 0.895, LEFT, _MIDDLE - 0.02)
    left = section(page, "Data", _short(info["data"]), left, LEFT, _MIDDLE - 0.02)
    left = section(page, "What to take away", _short(info["from"]), left, LEFT, _MIDDLE - 0.02)
    section(page, "Model", _short(model_facts(info["model"])), left, LEFT, _MIDDLE - 0.02)
    settings = {name: value for name, value in info["settings"].items() if value not in (None, False)}
    right = section(page, "Settings", settings, 0.895, _MIDDLE, RIGHT)
    versions = {"libraries": ", ".join(f"{name} {value}" for name, value in info["versions"].items())}
    right = section(page, "Versions", versions, right, _MIDDLE, RIGHT)
    section(page, "Conventions", info["conventions"], right, _MIDDLE, RIGHT)
    return page


def _short(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts that are there, hashes by their first digits."""
    known = {name: value for name, value in facts.items() if value not in (None, False)}
    return {name: str(value)[:12] if "sha256" in name else value for name, value in known.items()}


ENTRY = Entry(
    "provenance",
    "Provenance: how these numbers came about",
    draw,
    "The same, and more, is in run.json, and every number of this report in the parquet tables beside it, with the "
    "loss of each single sequence, and of each draw of the controls, in `ablation_losses`.",
    words=True,
)
