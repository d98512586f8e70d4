"""The report of an evaluation: its figures in the order of their pages, and its words for the terminal."""

from sinkscope.report.evaluation import contexts, needles, provenance, tasks, verdict
from sinkscope.report.evaluation.terminal import summary
from sinkscope.report.figures.entry import Entry

REGISTRY: tuple[Entry, ...] = (verdict.ENTRY, contexts.ENTRY, needles.ENTRY, tasks.ENTRY, provenance.ENTRY)

__all__ = ["REGISTRY", "summary"]
