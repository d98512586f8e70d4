"""What a report is made of, by the kind of run: its figures, the line below their titles, its words for the terminal.

A new kind of run is one row.
"""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import RenderableType

from sinkscope.errors import SinkscopeError
from sinkscope.report import comparison, evaluation, figures, quantization, terminal, track
from sinkscope.report.comparison import runs as compared
from sinkscope.report.comparison import terminal as comparison_terminal
from sinkscope.report.figures.entry import Entry
from sinkscope.report.text import printable
from sinkscope.report.track.summary import Summary as TrackSummary
from sinkscope.tables.store import Run


@dataclass(frozen=True)
class Kind:
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
    name = printable(run.info["model"]["name"], 70, keep_end=True)
    return f"{name} on {printable(run.info['data']['source'], 50, keep_end=True)}"


KINDS: dict[str, Kind] = {
    "analysis": Kind(figures.REGISTRY, _model_on_text, terminal.summary),
    "comparison": Kind(comparison.REGISTRY, compared.subtitle, comparison_terminal.summary),
    "evaluation": Kind(evaluation.REGISTRY, _model_on_text, evaluation.summary),
    "track": Kind(track.REGISTRY, _model_on_text, TrackSummary),
    "quantization": Kind(quantization.REGISTRY, quantization.subtitle, quantization.summary),
}


def kind_of(run: Run) -> Kind:
    """The row of a run.

    Raises:
        SinkscopeError: for a run of a kind that has no report.
    """
    name = run.info.get("kind")
    if name not in KINDS:
        raise SinkscopeError(f"there is no report of a run of kind {name}; there are: {', '.join(KINDS)}")
    return KINDS[name]
