"""The passes of a stage, shown while they last: `sequence 3 of 8, about 2 min left`."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from sinkscope.passes.batches import Batch
from sinkscope.progress.display import counted, shown

T = TypeVar("T")


def unit(batches: Sequence[Batch]) -> str:
    """What one of some micro-batches is called: a sequence, or a pass over several."""
    return "sequence" if all(len(batch.input_ids) == 1 for batch in batches) else "pass"


def with_progress(items: Sequence[T], text: str, progress: bool | None, done: int = 0) -> Iterator[T]:
    """The items after the first `done`, each a step of the stage `text`.

    Args:
        items: what is gone through.
        text: one of them, in words.
        progress: whether to show it where nobody has opened a display.
        done: items that were done before.
    """
    with shown(bool(progress)):
        yield from counted(items, text, done)
