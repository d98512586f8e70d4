"""The pages of a track, in their order. To add one: a module with an `ENTRY`, and its name here."""

from sinkscope.report.analysis import provenance
from sinkscope.report.entry import Entry
from sinkscope.report.tracking import evolution, front_page, layers, pathways, theta

REGISTRY: tuple[Entry, ...] = (
    front_page.ENTRY,
    evolution.ENTRY,
    layers.ENTRY,
    pathways.ENTRY,
    theta.ENTRY,
    provenance.ENTRY,
)
