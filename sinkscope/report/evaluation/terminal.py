"""An evaluation for the terminal: the words and the table of the report's first page."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.report.evaluation.sentences import HEADER, data_line, findings, model_line, rows
from sinkscope.report.plain import Plain
from sinkscope.tables.run_folder import Run


@dataclass(frozen=True)
class Summary(Plain):
    """A run's headline; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(model_line(self.run), style="bold")
        yield Text(data_line(self.run), style="dim")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, style in zip(HEADER, ("", "bold", "", "dim"), strict=True):
            table.add_column(name, style=style, justify="left" if name in ("Quantity", "Remark") else "right")
        for cells in rows(self.run):
            table.add_row(*(Text(cell) for cell in cells))
        yield Group(*(Text(f"- {sentence}") for sentence in findings(self.run)))
        yield table


def summary(run: Run) -> Summary:
    """The headline of an evaluation, to be printed by rich or by `print`."""
    return Summary(run)
