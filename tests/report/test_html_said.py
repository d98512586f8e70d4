"""Whatever a summary for the terminal is made of becomes HTML, in its order but for the findings, which come first."""

import pytest
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sinkscope.report.html.said import summary_html


class Summary:
    def __init__(self, *parts: object) -> None:
        self.parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.parts  # type: ignore[misc]


def table() -> Table:
    made = Table()
    made.add_column("Quantity")
    made.add_column("Value", justify="right", style="bold")
    made.add_row(Text("a < b"), Text("1"))
    made.add_row(Text(""), Text("[bold]"))
    return made


def test_findings_come_after_the_first_lines_and_before_the_tables() -> None:
    summary = Summary(Text("model"), table(), Text("manner"), Group(Text("- one"), Text("- two")), Text("last"))
    found = summary_html(summary)
    order = [found.index(words) for words in ("model", "<li>one</li><li>two</li>", "a &lt; b", "manner", "last")]
    assert order == sorted(order)


def test_styles_become_classes() -> None:
    found = summary_html(
        Summary(Text("x", style="bold blue"), Text.assemble(("Name: ", "bold"), "text"), Text("pale", "dim"))
    )
    assert '<span class="strong lower">x</span>' in found
    assert '<span class="strong">Name: </span>text' in found
    assert '<span class="pale">pale</span>' in found


def test_a_table_has_heads_for_columns_and_rows_and_its_cells_are_text() -> None:
    found = summary_html(Summary(table()))
    assert '<th scope="col" class="number">Value</th>' in found
    assert '<th scope="row">a &lt; b</th><td class="number strong">1</td>' in found
    assert '<td></td><td class="number strong">[bold]</td>' in found


def test_what_is_neither_is_kept_as_letters() -> None:
    assert "<pre>" in summary_html(Summary(Panel(Text("boxed <b>"))))
    assert "boxed &lt;b&gt;" in summary_html(Summary(Panel(Text("boxed <b>"))))
    with pytest.raises(TypeError, match="float"):
        summary_html(Summary(1.5))
