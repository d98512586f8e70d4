"""The headline of a run for the terminal: the numbers and findings of the report's first page."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.report.analysis.findings import findings
from sinkscope.report.analysis.headline_rows import HEADER, data_line, model_line, public_rows, rows
from sinkscope.report.plain import Plain
from sinkscope.tables.applicability import sentences
from sinkscope.tables.run_folder import Run

_SIDES: tuple[JustifyMethod, ...] = ("left", "right", "right", "right", "left")


@dataclass(frozen=True)
class Summary(Plain):
    """A run's headline; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(model_line(self.run), style="bold")
        yield Text(data_line(self.run), style="dim")
        yield _headline(self.run)
        if public_rows(self.run):
            yield _public(self.run)
        yield Group(*(Text(f"- {sentence}") for sentence in (*findings(self.run), *sentences(self.run))))


def summary(run: Run) -> Summary:
    """The headline of a run, to be printed by rich or by `print`."""
    return Summary(run)


def _headline(run: Run) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    styles = ("", "bold", "", "", "dim")
    for name, style, side in zip(HEADER, styles, _SIDES, strict=True):
        table.add_column(name, style=style, justify=side)
    for row in rows(run):
        table.add_row(*(Text(cell) for cell in (row.quantity, row.measured, row.baseline, row.vscale, row.remark)))
    return table


def _public(run: Run) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("published", "this run", "value", "source"):
        table.add_column(name)
    for cells in public_rows(run):
        table.add_row(*(Text(cell) for cell in cells))
    return table
