"""The figures of a run by name, drawn when they are looked at: naming them takes no time."""

from collections.abc import Iterator, Mapping

from sinkscope.report.figure.made import check_style, check_width, drawable, figure, paged
from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run


class Figures(Mapping[str, Page]):
    """A mapping from names to figures, each drawn once."""

    def __init__(self, run: Run, style_name: str, width: float) -> None:
        check_style(style_name)
        check_width(width)
        self._run, self._style, self._width = run, style_name, width
        self._names = [entry.name for entry in (drawable(run) if style_name == "paper" else paged(run))]
        self._drawn: dict[str, Page] = {}

    def __getitem__(self, name: str) -> Page:
        if name not in self._drawn:
            self._drawn[name] = figure(self._run, name, self._style, self._width)
        return self._drawn[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<figures: {', '.join(self._names)}>"
