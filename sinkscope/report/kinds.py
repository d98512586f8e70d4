"""What a report is made of, by the kind of run: its figures, the line below their titles, its words for the terminal.

A new kind of run is one row.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import RenderableType

from sinkscope.errors import SinkscopeError
from sinkscope.report.ablation import pages as ablation
from sinkscope.report.ablation import sentences as ablated
from sinkscope.report.ablation import terminal as ablation_terminal
from sinkscope.report.analysis import pages as analysis
from sinkscope.report.analysis import terminal as analysis_terminal
from sinkscope.report.comparison import pages as comparison
from sinkscope.report.comparison import runs as compared
from sinkscope.report.comparison import terminal as comparison_terminal
from sinkscope.report.entry import Entry
from sinkscope.report.evaluation import pages as evaluation
from sinkscope.report.evaluation import terminal as evaluation_terminal
from sinkscope.report.quantization import pages as quantization
from sinkscope.report.quantization import sentences as quantized
from sinkscope.report.quantization import terminal as quantization_terminal
from sinkscope.report.reproduction import pages as reproduction
from sinkscope.report.reproduction import terminal as reproduction_terminal
from sinkscope.report.reproduction import words as reproduced
from sinkscope.report.text import printable
from sinkscope.report.tracking import pages as tracking
from sinkscope.report.tracking import terminal as tracking_terminal
from sinkscope.tables.run_folder import Run


@dataclass(frozen=True)
class ReportKind:
    """How runs of one kind are shown.

    Attributes:
        figures: in the order of the report's pages.
        subtitle: what the run is about, in one line.
        summary: for the terminal; rich prints it, and its `str` is plain text.
    """

    figures: tuple[Entry, ...]
    subtitle: Callable[[Run], str]
    summary: Callable[[Run], RenderableType]


def _model_on_text(run: Run) -> str:
    model = run.info["model"]
    name = printable(model["name"], 70, keep_end=True)
    if "method" in model:
        name += f" under {printable(model['quantization'])}"
    return f"{name} on {printable(run.info['data']['source'], 50, keep_end=True)}"


KINDS: dict[str, ReportKind] = {
    "ablation": ReportKind(ablation.REGISTRY, ablated.subtitle, ablation_terminal.summary),
    "analysis": ReportKind(analysis.REGISTRY, _model_on_text, analysis_terminal.summary),
    "comparison": ReportKind(comparison.REGISTRY, compared.subtitle, comparison_terminal.summary),
    "evaluation": ReportKind(evaluation.REGISTRY, _model_on_text, evaluation_terminal.summary),
    "reproduction": ReportKind(reproduction.REGISTRY, reproduced.subtitle, reproduction_terminal.summary),
    "track": ReportKind(tracking.REGISTRY, _model_on_text, tracking_terminal.Summary),
    "quantization": ReportKind(quantization.REGISTRY, quantized.subtitle, quantization_terminal.summary),
}


def kind_of(run: Run) -> ReportKind:
    """The row of a run.

    Raises:
        SinkscopeError: for a run of a kind that has no report.
    """
    name = run.info.get("kind")
    if name not in KINDS:
        raise SinkscopeError(f"there is no report of a run of kind {name}; there are: {', '.join(KINDS)}")
    return KINDS[name]
