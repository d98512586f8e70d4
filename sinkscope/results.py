"""What a verb returns: a run, the figures that are drawn from it, and one way to write both down."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sinkscope.progress.display import stage
from sinkscope.runs import with_figures
from sinkscope.tables.run_folder import Run, described, no_table, write_run

if TYPE_CHECKING:
    from sinkscope.report.page import Page


@dataclass(frozen=True, repr=False)
class Result:
    """A finished run.

    Tables are attributes: `result.heads` is `result.run["heads"]`.

    Attributes:
        run: its provenance and tables.
        saved: called once the run is on disk; throws away what was kept while it was unfinished.
    """

    run: Run
    saved: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "run", with_figures(self.run))  # verbs make runs of data alone

    @property
    def info(self) -> dict[str, Any]:
        """Provenance, settings and headline numbers, as in run.json."""
        return self.run.info

    @property
    def headline(self) -> dict[str, Any]:
        """The headline numbers."""
        return with_figures(self.run).headline

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        return self.run.tables

    def __getattr__(self, name: str) -> pd.DataFrame:
        """The table `name`."""
        if name.startswith("__") or name == "run" or name not in self.run.tables:
            if name.startswith("_") or name == "run":
                raise AttributeError(f"{type(self).__name__} has no attribute '{name}'")
            raise AttributeError(f"{type(self).__name__} has no attribute '{name}', and {no_table(name, self.run)}")
        return self.run.tables[name]

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The table `name`.

        Raises:
            MissingTableError: if there is none.
        """
        return self.run[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is a table `name`."""
        return name in self.run.tables

    def __iter__(self) -> Iterator[str]:
        """The names of the tables."""
        return iter(self.run.tables)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.run.tables]

    def __repr__(self) -> str:
        return described(self.run, type(self).__name__)

    def _repr_html_(self) -> str | None:
        """What a notebook shows: findings and numbers, and the first figure."""
        return with_figures(self.run)._repr_html_()

    def figures(self, style: str = "page", width: float = 3.3) -> "Mapping[str, Page]":
        """The figures by name, each drawn when it is asked for; see `Run.figures`."""
        return with_figures(self.run).figures(style, width)

    def figure(self, name: str, style: str = "page", width: float = 3.3) -> "Page":
        """One figure, as a page of the report or, with `style="paper"`, alone; see `Run.figure`."""
        return with_figures(self.run).figure(name, style, width)

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Writes the run folder with its figures and report, whole or not at all.

        Args:
            folder: its place.
            force: replace an existing run folder.

        Raises:
            SinkscopeError: if the place is taken or cannot be written.
        """
        place = Path(folder).expanduser()
        stage("writing")
        write_run(self.run, place, force=force, finish=self.add_files)
        if self.saved is not None:
            self.saved()
        return place

    def add_files(self, folder: Path) -> None:
        """Adds to a run folder what is no table of it, while it is written."""
        from sinkscope.report.render import render

        render(self.run, folder)
