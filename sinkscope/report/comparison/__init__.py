"""The figures of a comparison, in the order of their pages. To add one: a module with an `ENTRY`, and its name here."""

from sinkscope.report.comparison import (
    by_layer,
    gradient_sinks,
    paper,
    provenance,
    ratios,
    reshaping,
    theta,
    values,
    verdict,
)
from sinkscope.report.figures.entry import Entry

REGISTRY: tuple[Entry, ...] = (
    verdict.ENTRY,
    ratios.ENTRY,
    by_layer.ENTRY,
    gradient_sinks.ENTRY,
    values.ENTRY,
    *reshaping.ENTRIES,
    theta.ENTRY,
    paper.ENTRY,
    *provenance.ENTRIES,
)
