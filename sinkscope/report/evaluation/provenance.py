"""The last page: everything that a reader needs to repeat an evaluation; settings that were left open are left out."""

from dataclasses import replace

from sinkscope.report.analysis import provenance
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run


def draw(run: Run) -> Page:
    """The page that every kind of run has, with the settings that were made."""
    settings = {name: value for name, value in run.info["settings"].items() if value not in (None, (), [])}
    return provenance.draw(replace(run, info={**run.info, "settings": settings}))


ENTRY = replace(provenance.ENTRY, draw=draw)
