"""A run as people hold it: its headline, its figures, and how a notebook shows it.

`sinkscope.tables.run_folder` knows runs as data and nothing of drawing; this is the same run with what can be
seen of it.

    run = sinkscope.read_run("runs/demo")
    run.figure("sink_rate", style="paper", width=3.3).savefig("sink_rate.pdf")
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sinkscope.tables import run_folder

if TYPE_CHECKING:
    from sinkscope.report.page import Page


@dataclass(frozen=True, repr=False)
class Run(run_folder.Run):
    """One measured run, with its figures.

    Attributes:
        info: provenance, settings and headline numbers, as in run.json.
        tables: data frames by name; `run["layers"]` is `run.tables["layers"]`.
    """

    def figures(self, style: str = "page", width: float = 3.3) -> "Mapping[str, Page]":
        """The figures by name, each drawn when it is asked for.

        Args:
            style: `page` for the pages of the report, `paper` for figures without title, caption and foot.
            width: inches, of figures for a paper: 3.3 for a column, 6.8 for the width of the text.
        """
        from sinkscope.report.figure.all_of import Figures

        return Figures(self, style, width)

    def figure(self, name: str, style: str = "page", width: float = 3.3) -> "Page":
        """One figure, a matplotlib Figure; `.savefig("x.pdf")` writes it.

        Args:
            name: as in `figures()`.
            style: `page` as in the report, or `paper` for the panels alone.
            width: inches, of a figure for a paper, from 3.3 (a column) over 6.8 (the text) to 11.

        Raises:
            RequestError: for an unknown name, which lists those that there are, or a width outside of these.
        """
        from sinkscope.report.figure.made import figure

        return figure(self, name, style, width)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: findings and numbers, and the first figure."""
        from sinkscope.report.notebook import notebook_html

        return notebook_html(self)


def with_figures(run: run_folder.Run) -> Run:
    """The run with its figures; nothing is copied."""
    return run if isinstance(run, Run) else Run(run.info, run.tables)


def read_run(folder: str | Path) -> Run:
    """Reads a run folder.

    Raises:
        SinkscopeError: if the folder holds no run, a run of another schema, or lacks a table.
    """
    return with_figures(run_folder.read_run(folder))
