"""The progress bar of passes, on stderr."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def with_progress(items: list[Any], text: str, progress: bool, done: int = 0) -> Iterator[Any]:
    """The items after the first `done`, with a progress bar on stderr where `progress` is on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not progress, transient=True) as bar:
        yield from bar.track(items[done:], description=text, total=len(items), completed=done)
