"""A track for the terminal: the words and tables of page 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.report.analysis.headline_rows import data_line, model_line
from sinkscope.report.plain import Plain
from sinkscope.report.tracking.sentences import appearance_cells, progress_cells, sentences
from sinkscope.tables.run_folder import Run


@dataclass(frozen=True)
class Summary(Plain):
    """What a track found; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(model_line(self.run), style="bold")
        yield Text(data_line(self.run), style="dim")
        yield Group(*(Text(f"- {sentence}") for sentence in sentences(self.run)))
        header = ("phenomenon", "seen where", "appeared", "lasting from", "order")
        yield _table(header, appearance_cells(self.run), bold=2)
        yield _table(*progress_cells(self.run))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], bold: int | None = None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, name in enumerate(header):
        table.add_column(name, style="bold" if column == bold else "")
    for cells in rows:
        table.add_row(*(Text(cell) for cell in cells))
    return table
