"""The pages of a quantization run, in their order. To add one: a module with an `ENTRY`, and its name here."""

from sinkscope.report.entry import Entry
from sinkscope.report.quantization import (
    answer,
    damage,
    front_page,
    histograms,
    noise,
    outliers,
    parts,
    positions,
    provenance,
    ranking,
    remains,
)

REGISTRY: tuple[Entry, ...] = (
    answer.ENTRY,
    front_page.ENTRY,
    damage.ENTRY,
    parts.ENTRY,
    positions.ENTRY,
    noise.ENTRY,
    ranking.ENTRY,
    histograms.ENTRY,
    outliers.ENTRY,
    remains.ENTRY,
    provenance.ENTRY,
)
