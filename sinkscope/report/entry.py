"""What a figure of the report is: a function from a run to a page, with its name, title and caption."""

from collections.abc import Callable
from dataclasses import dataclass

from sinkscope.report.page import Page
from sinkscope.tables.run_folder import Run


@dataclass(frozen=True)
class Entry:
    """A figure.

    Attributes:
        name: its file name, without suffix.
        title: its heading.
        draw: draws the panels.
        caption: what is shown, in which convention, and how to read it.
        needs_backward: left out of a run without gradients.
        applies: whether the run has what the figure shows.
        words: a page of text, which is no figure without the page.
    """

    name: str
    title: str
    draw: Callable[[Run], Page]
    caption: str
    needs_backward: bool = False
    applies: Callable[[Run], bool] = lambda _: True
    words: bool = False

    def applies_to(self, run: Run) -> bool:
        """Whether the report of `run` has this figure."""
        return (not self.needs_backward or run.backward) and self.applies(run)
