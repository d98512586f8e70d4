"""An unfinished ablation on disk, beside the place of the finished one: `.NAME.ablation/`, small files of results."""

from collections.abc import Callable
from typing import Any

from sinkscope.files.sealed import read_sealed, write_sealed
from sinkscope.unfinished import ANEW, Unfinished

KIND = "ablation"


class Kept:
    """What was measured so far.

    Args:
        unfinished: its folder; None keeps nothing.
    """

    def __init__(self, unfinished: Unfinished | None) -> None:
        self._unfinished = unfinished
        if unfinished is not None:
            unfinished.begin()

    def get(self, name: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was kept under a name, or what is measured and kept now."""
        if self._unfinished is None:
            return measure()
        place = self._unfinished.folder / f"{name}.json"
        stored = read_sealed(place, ANEW)
        if stored is None:
            stored = measure()
            write_sealed(place, stored)
        return stored

    def discard(self) -> None:
        """Throws it away."""
        if self._unfinished is not None:
            self._unfinished.discard()
