"""Rows that a run collects, in one growing buffer.

A list of small tensors would do the same, but small allocations that outlive their forward pass end up between the
large ones that do not, and keep the heap from being used again: memory would grow with the number of sequences by far
more than what is kept.
"""

from typing import Any

import torch
from torch import Tensor

from sinkscope.capture.statistics.statistic import Statistic


class Stack(Statistic):
    """Tensors [n, ...] appended along their first dimension."""

    def __init__(self) -> None:
        self._buffer: Tensor | None = None
        self._length = 0

    def append(self, rows: Tensor) -> None:
        """Adds rows [n, ...] of the same shape and dtype as those before."""
        needed = self._length + rows.shape[0]
        if self._buffer is None or needed > self._buffer.shape[0]:
            larger = rows.new_empty(max(2 * needed, 64), *rows.shape[1:])
            if self._buffer is not None:
                larger[: self._length] = self._buffer[: self._length]
            self._buffer = larger
        self._buffer[self._length : needed] = rows
        self._length = needed

    def rows(self) -> Tensor:
        """Everything appended so far [N, ...]; float32 [0] where nothing was."""
        return torch.zeros(0, dtype=torch.float32) if self._buffer is None else self._buffer[: self._length]

    def merge(self, other: "Stack") -> None:
        """Appends the other's rows."""
        rows = other.rows()
        if other._buffer is not None:
            self.append(rows)

    def __getstate__(self) -> dict[str, Any]:
        # A view would be stored with all of its buffer.
        kept = None if self._buffer is None else self.rows().clone()
        return {"_buffer": kept, "_length": self._length}
