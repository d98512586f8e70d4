"""A quantization run for the terminal: the table of the first page and what it says."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.report.plain import Plain
from sinkscope.report.quantization.along import along_the_window
from sinkscope.report.quantization.mitigated import (
    BETTER,
    SIGNS,
    UNQUANTIZED,
    WORSE,
    answers,
    formats_of,
    grid,
    has_mitigations,
    mitigations_of,
)
from sinkscope.report.quantization.sentences import (
    NONE,
    apart,
    cells,
    findings,
    header,
    models,
    signed,
    subtitle,
    text_line,
)
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
        said = [*(answers(self.run) if has_mitigations(self.run) else []), *findings(self.run),
                *along_the_window(self.run)]  # fmt: skip
        yield Group(*(Text(f"- {sentence}") for sentence in said))
        shown = len(header(self.run)) - (options.max_width < SCALES_WIDTH)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in header(self.run)[:shown]:
            scales = name == _SCALES
            table.add_column(name, justify="left" if name in _WORDS else "right", style="dim" if scales else "",
                             no_wrap=not scales)  # fmt: skip
        for row in cells(self.run):
            table.add_row(*(Text(cell) for cell in row[:shown]))
        yield table
        yield from _repairs(self.run)


def _repairs(run: Run) -> Iterator[Text | Table]:
    """A table per model: formats below each other, mitigations, whose names are shorter, beside each other."""
    if not has_mitigations(run):
        return
    rows = mitigations_of(run)
    for model in models(run):
        of = f" of {apart(run, model)}" if apart(run, model) else ""
        yield Text(f"Change of the loss{of} by mitigation; {SIGNS[BETTER]} better, {SIGNS[WORSE]} worse than the same "
                   "format without one", style="dim")  # fmt: skip
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("Format", no_wrap=True)
        for row in rows:
            table.add_column(row, justify="right", no_wrap=True)
        cells = grid(run, model)
        for name in formats_of(run):
            found = [cells.get((row, name)) for row in rows]
            table.add_row(
                UNQUANTIZED if name == NONE else name,
                *("" if cell is None else f"{signed(cell.delta)} {SIGNS[cell.told] or ' '}" for cell in found),
            )
        yield table


def summary(run: Run) -> Summary:
    """What a run found, to be printed by rich or by `print`."""
    return Summary(run)
