"""A reproduction for the terminal: what page 1 says."""

from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.intervals.verdicts import REFUTED, REPRODUCED, UNDECIDED, UNTESTABLE
from sinkscope.report.plain import Plain
from sinkscope.report.reproduction.front_page import deciding
from sinkscope.report.reproduction.words import counted_claims, trio_in_words
from sinkscope.report.text import printable
from sinkscope.tables.run_folder import Run

_STYLES = {REPRODUCED: "bold green", REFUTED: "bold red", UNDECIDED: "bold blue", UNTESTABLE: "dim"}


@dataclass(frozen=True)
class Summary(Plain):
    """The claims with their verdicts; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(trio_in_words(self.run), style="bold")
        yield Text(f"- {counted_claims(self.run)}")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("Claim", "Verdict", "Tests reproduced", "What decided it"):
            table.add_column(name)
        claims: Any = self.run["claims"].to_dict("records")
        for row in claims:
            words = printable(deciding(self.run, row["claim"], row["verdict"]))
            verdict = Text(row["verdict"], style=_STYLES[row["verdict"]])
            table.add_row(
                Text(f"{row['claim']}. {row['says']}"),
                verdict,
                Text(f"{row['reproduced']} of {row['tests']}"),
                Text(words),
            )
        yield table


def summary(run: Run) -> Summary:
    """The headline of a reproduction, to be printed by rich or by `print`."""
    return Summary(run)
