"""The headline of a run for the terminal: the numbers and findings of the report's first page."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.report.analysis.consequences import consequences
from sinkscope.report.analysis.findings import findings
from sinkscope.report.analysis.headline_rows import HEADER, data_line, model_line, public_rows, rows
from sinkscope.report.plain import Plain
from sinkscope.tables.applicability import sentences
from sinkscope.tables.run_folder import Run

PAPERS_WIDTH = 100  # columns of a terminal from which on the paper's values are shown
_PAPERS = (2, 3)
_SIDES: tuple[JustifyMethod, ...] = ("left", "right", "right", "right", "left")


@dataclass(frozen=True)
class Summary(Plain):
    """A run's headline; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(model_line(self.run), style="bold")
        yield Text(data_line(self.run), style="dim")
        yield Group(*(Text(f"- {sentence}") for sentence in (*findings(self.run), *sentences(self.run))))
        yield from _consequences(self.run)
        yield _headline(self.run, papers=options.max_width >= PAPERS_WIDTH)
        if public_rows(self.run):
            yield _public(self.run)


def summary(run: Run) -> Summary:
    """The headline of a run, to be printed by rich or by `print`."""
    return Summary(run)


def _consequences(run: Run) -> RenderResult:
    """What follows, a line each; the command last and on a line of its own, to be copied."""
    *said, (name, typed) = consequences(run)
    yield Group(*(Text.assemble((f"{title}: ", "bold"), text) for title, text in said))
    yield Text.assemble((f"{name}: ", "bold"), typed, overflow="fold")


def _headline(run: Run, *, papers: bool) -> Table:
    """The numbers; the paper's columns only where the terminal is wide enough for them."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    styles = ("", "bold", "", "", "dim")
    shown = [column for column in range(len(HEADER)) if papers or column not in _PAPERS]
    for column in shown:
        table.add_column(HEADER[column], style=styles[column], justify=_SIDES[column])
    for row in rows(run):
        cells = (row.quantity, row.measured, row.baseline, row.vscale, row.remark)
        table.add_row(*(Text(cells[column]) for column in shown))
    return table


def _public(run: Run) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("published", "this run", "value", "source"):
        table.add_column(name)
    for cells in public_rows(run):
        table.add_row(*(Text(cell) for cell in cells))
    return table
