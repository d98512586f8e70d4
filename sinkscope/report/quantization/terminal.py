"""A quantization run for the terminal: the table of the first page and what it says."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.report.plain import Plain
from sinkscope.report.quantization.sentences import cells, findings, header, subtitle, text_line
from sinkscope.tables.run_folder import Run

SCALES_WIDTH = 110
"""Below this many columns scales are left out of the table; the report and the table `quantization` have them."""
_SCALES = "Scales"
_WORDS = ("Model", "Method", _SCALES)  # columns to the left; numbers go to the right


@dataclass(frozen=True)
class Summary(Plain):
    """What a run found; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(subtitle(self.run), style="bold")
        yield Text(text_line(self.run), style="dim")
        yield Group(*(Text(f"- {sentence}") for sentence in findings(self.run)))
        shown = len(header(self.run)) - (options.max_width < SCALES_WIDTH)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in header(self.run)[:shown]:
            scales = name == _SCALES
            table.add_column(name, justify="left" if name in _WORDS else "right", style="dim" if scales else "",
                             no_wrap=not scales)  # fmt: skip
        for row in cells(self.run):
            table.add_row(*(Text(cell) for cell in row[:shown]))
        yield table


def summary(run: Run) -> Summary:
    """What a run found, to be printed by rich or by `print`."""
    return Summary(run)
