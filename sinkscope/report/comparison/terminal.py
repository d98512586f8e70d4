"""A comparison for the terminal: what page 1 says, a line per metric and run."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from sinkscope.intervals.verdicts import BETTER, GROWN, REFERENCE, SUPPRESSED, UNCHANGED, WORSE
from sinkscope.quantities.rows import compared
from sinkscope.report.comparison.runs import named, rows_of
from sinkscope.report.comparison.sentences import manner, outcomes, warning
from sinkscope.report.plain import Plain
from sinkscope.report.text import number, printable
from sinkscope.tables.run_folder import Run

_STYLES = {
    SUPPRESSED: "bold blue",
    GROWN: "bold red",
    UNCHANGED: "bold green",
    BETTER: "bold green",
    WORSE: "bold red",
    REFERENCE: "dim",
}


@dataclass(frozen=True)
class Summary(Plain):
    """A comparison's headline; rich prints it in colour and to the terminal's width, `str` gives plain text."""

    run: Run

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(named(self.run), style="bold")
        if self.run.info["mismatches"]:
            yield Text(warning(self.run), style="bold red")
        for note in self.run.info["notes"]:
            yield Text(printable(note))
        for sentence in outcomes(self.run):
            yield Text(f"- {sentence}")
        yield _table(self.run)
        yield Text(manner(self.run), style="dim")


def summary(run: Run) -> Summary:
    """The headline of a comparison, to be printed by rich or by `print`."""
    return Summary(run)


def _table(run: Run) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, side in (("Metric", "left"), ("Run", "left"), ("Value", "right"), ("95 % interval", "right"),
                       ("Ratio", "right"), ("95 % interval", "right"), ("Verdict", "left")):  # fmt: skip
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    rows = rows_of(run)
    for metric in compared():
        if not metric.front_page or (metric.backward and not run.backward):
            continue
        for place, entry in enumerate(run.info["runs"]):
            row = rows[metric.name, entry["name"]]
            cells = [
                metric.title if place == 0 else "",
                printable(entry["name"], 28, keep_end=True),
                number(float(row["value"])),
                _interval(row["low"], row["high"]),
                "" if row["ratio"] != row["ratio"] else number(float(row["ratio"])),
                _interval(row["ratio_low"], row["ratio_high"]),
            ]
            verdict = Text(row["verdict"], style=_STYLES.get(row["verdict"], ""))
            table.add_row(*(Text(cell) for cell in cells), verdict)
    return table


def _interval(low: float, high: float) -> str:
    return f"{number(float(low))} to {number(float(high))}" if low == low and high == high else ""
