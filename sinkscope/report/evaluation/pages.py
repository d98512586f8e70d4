"""The pages of an evaluation, in their order. To add one: a module with an `ENTRY`, and its name here."""

from sinkscope.report.entry import Entry
from sinkscope.report.evaluation import contexts, front_page, needles, provenance, tasks

REGISTRY: tuple[Entry, ...] = (front_page.ENTRY, contexts.ENTRY, needles.ENTRY, tasks.ENTRY, provenance.ENTRY)
