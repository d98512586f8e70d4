"""The figures of a track, in the order of their pages."""

from sinkscope.report.figures import provenance
from sinkscope.report.figures.entry import Entry
from sinkscope.report.track import evolution, layers, overview, pathways, theta

REGISTRY: tuple[Entry, ...] = (
    overview.ENTRY,
    evolution.ENTRY,
    layers.ENTRY,
    pathways.ENTRY,
    theta.ENTRY,
    provenance.ENTRY,
)
