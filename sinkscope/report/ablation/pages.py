"""The pages of an ablation, in their order. To add one: a module with an `ENTRY`, and its name here."""

from sinkscope.report.ablation import (
    by_layer,
    damage,
    front_page,
    positions,
    provenance,
    quantities,
    super_weights,
)
from sinkscope.report.entry import Entry

REGISTRY: tuple[Entry, ...] = (
    front_page.ENTRY,
    damage.ENTRY,
    quantities.ENTRY,
    by_layer.ENTRY,
    positions.ENTRY,
    super_weights.ENTRY,
    provenance.ENTRY,
)
