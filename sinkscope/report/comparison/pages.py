"""The pages of a comparison, in their order. To add one: a module with an `ENTRY`, and its name here."""

from sinkscope.report.comparison import (
    by_layer,
    front_page,
    gradient_sinks,
    paper,
    provenance,
    quantization,
    ratios,
    reshaping,
    theta,
    training,
    values,
)
from sinkscope.report.entry import Entry

REGISTRY: tuple[Entry, ...] = (
    front_page.ENTRY,
    training.ENTRY,
    ratios.ENTRY,
    by_layer.ENTRY,
    gradient_sinks.ENTRY,
    values.ENTRY,
    *reshaping.ENTRIES,
    theta.ENTRY,
    quantization.ENTRY,
    paper.ENTRY,
    *provenance.ENTRIES,
)
