"""What a verb returns: a run, the figures that are drawn from it, and one way to write both down."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sinkscope.progress.display import stage
from sinkscope.tables.run_folder import Run, write_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Result:
    """A finished run.

    Tables are attributes: `result.heads` is `result.run["heads"]`.

    Attributes:
        run: its provenance and tables.
        saved: called once the run is on disk; throws away what was kept while it was unfinished.
    """

    run: Run
    saved: Callable[[], None] | None = None

    @property
    def info(self) -> dict[str, Any]:
        """Provenance, settings and headline numbers, as in run.json."""
        return self.run.info

    @property
    def headline(self) -> dict[str, Any]:
        """The headline numbers."""
        return dict(self.run.info["headline"])

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables by name."""
        return self.run.tables

    def __getattr__(self, name: str) -> pd.DataFrame:
        """The table `name`."""
        if name.startswith("__") or name == "run" or name not in self.run.tables:
            raise AttributeError(f"{type(self).__name__} has no attribute or table {name!r}")
        return self.run.tables[name]

    def __getitem__(self, name: str) -> pd.DataFrame:
        """The table `name`."""
        return self.run.tables[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is a table `name`."""
        return name in self.run.tables

    def __iter__(self) -> Iterator[str]:
        """The names of the tables."""
        return iter(self.run.tables)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.run.tables]

    def figures(self) -> "dict[str, Figure]":
        """The report's figures by name, drawn anew."""
        from sinkscope.report.render import figures

        return figures(self.run)

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Writes the run folder with its figures and report, whole or not at all.

        Args:
            folder: its place.
            force: replace an existing run folder.

        Raises:
            SinkscopeError: if the place is taken or cannot be written.
        """
        from sinkscope.report.render import render

        place = Path(folder).expanduser()
        stage("writing")
        write_run(self.run, place, force=force, finish=lambda building: render(self.run, building))
        if self.saved is not None:
            self.saved()
        return place
