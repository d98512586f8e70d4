"""The report of a quantization run. To add a figure: a module with an `ENTRY`, and its name here."""

from sinkscope.report.figures.entry import Entry
from sinkscope.report.quantization import (
    damage,
    histograms,
    noise,
    outliers,
    parts,
    provenance,
    ranking,
    verdict,
)
from sinkscope.report.quantization.terminal import summary
from sinkscope.report.quantization.words import subtitle

REGISTRY: tuple[Entry, ...] = (
    verdict.ENTRY,
    damage.ENTRY,
    parts.ENTRY,
    noise.ENTRY,
    ranking.ENTRY,
    histograms.ENTRY,
    outliers.ENTRY,
    provenance.ENTRY,
)

__all__ = ["REGISTRY", "subtitle", "summary"]
