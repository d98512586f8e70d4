"""An ablation for the terminal: the table of the first page and what it says."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.report.ablation.sentences import HEADER, cells, findings, subtitle, text_line
from sinkscope.report.plain import Plain
from sinkscope.tables.run_folder import Run

_WORDS = (0, 1, 8, 9)  # columns of words, to the left; numbers go to the right


@dataclass(frozen=True)
class Summary(Plain):
    """What a run found; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(subtitle(self.run), style="bold")
        yield Text(text_line(self.run), style="dim")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for index, name in enumerate(HEADER):
            table.add_column(name, justify="left" if index in _WORDS else "right")
        for row in cells(self.run):
            table.add_row(*(Text(cell) for cell in row))
        yield Group(*(Text(f"- {sentence}") for sentence in findings(self.run)))
        if len(self.run["ablations"]):
            yield table


def summary(run: Run) -> Summary:
    """What a run found, to be printed by rich or by `print`."""
    return Summary(run)
