"""In the terminal every kind of run says what it found before it shows numbers."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from html_runs import RUNS
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from sinkscope.report.kinds import kind_of
from sinkscope.report.quantization.terminal import SCALES_WIDTH

CONSOLE = Console(width=120)


def flat(parts: Any) -> Iterator[Text | Table]:
    for part in parts:
        if isinstance(part, Group):
            yield from flat(part.renderables)
        else:
            yield part


@pytest.mark.parametrize("kind", RUNS)
def test_findings_stand_above_the_tables(kind: str) -> None:
    run = RUNS[kind]
    parts = list(flat(kind_of(run).summary(run).__rich_console__(CONSOLE, CONSOLE.options)))
    tables = [place for place, part in enumerate(parts) if isinstance(part, Table)]
    said = [place for place, part in enumerate(parts) if isinstance(part, Text) and part.plain.startswith("- ")]
    assert tables
    assert said
    assert max(said) < min(tables)


def test_a_narrow_terminal_has_no_room_for_scales() -> None:
    run = RUNS["quantization"]
    for width, there in ((SCALES_WIDTH, True), (SCALES_WIDTH - 1, False)):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(kind_of(run).summary(run))
        assert ("Scales" in console.export_text()) is there
