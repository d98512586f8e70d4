"""The pages of an analysis, in their order. To add one: a module with an `ENTRY`, and its name here."""

from sinkscope.report.analysis import (
    attention_maps,
    bounds,
    chain,
    experts,
    extremes,
    front_page,
    gradient_sink,
    learned_sinks,
    massive,
    modalities,
    numbers,
    pathways,
    provenance,
    reshaping,
    sink_heatmap,
    sink_rate,
    token_norms,
    value_drain,
)
from sinkscope.report.entry import Entry

REGISTRY: tuple[Entry, ...] = (
    front_page.ENTRY,
    chain.ENTRY,
    numbers.ENTRY,
    sink_heatmap.ENTRY,
    sink_rate.ENTRY,
    learned_sinks.ENTRY,
    modalities.ENTRY,
    token_norms.ENTRY,
    massive.ENTRY,
    extremes.ENTRY,
    experts.ENTRY,
    value_drain.ENTRY,
    gradient_sink.ENTRY,
    pathways.ENTRY,
    reshaping.ENTRY,
    bounds.ENTRY,
    *attention_maps.ENTRIES,
    provenance.ENTRY,
)
