"""One forward pass and the sequences in it.

Positions count from a sequence's first attended token, and padding enters no statistic. A batch without padding is
reduced as it is; a padded one is cut into its sequences, each then a batch of one. Everything downstream therefore sees
only real tokens.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sinkscope.capture.statistics.statistic import stored
from sinkscope.errors import SinkscopeError


@stored
class Span(NamedTuple):
    """A sequence inside a padded batch: its row, and its attended tokens start..stop-1."""

    row: int
    start: int
    stop: int


@stored
@dataclass(frozen=True)
class MicroBatch:
    """One forward pass.

    Attributes:
        first: number of its first sequence in the run.
        size: B, its sequences.
        input_ids: token ids [B, T]; None where the caller passed embeddings.
        spans: one per sequence where the batch is padded, else None.
    """

    first: int
    size: int
    input_ids: Tensor | None
    spans: tuple[Span, ...] | None

    def pieces(self, x: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Cuts a tensor [B, T, ...] into parts without padding: the number of a part's first sequence, and the part."""
        if self.spans is None:
            yield self.first, x
        else:
            for span in self.spans:
                yield self.first + span.row, x[span.row : span.row + 1, span.start : span.stop]


def attended_spans(attention_mask: Tensor | None) -> tuple[Span, ...] | None:
    """Where each sequence of a padded batch lies; None if nothing is padded.

    Raises:
        SinkscopeError: for a mask that is not [B, T], has holes, or hides a whole sequence.
    """
    if attention_mask is None:
        return None
    if attention_mask.dim() != 2:
        raise SinkscopeError("only attention masks of shape [batch, tokens] can be measured")
    attended = attention_mask.bool().cpu()
    if bool(attended.all()):
        return None
    spans = []
    for row, kept in enumerate(attended):
        where = torch.nonzero(kept).flatten()
        if not len(where) or int(where[-1] - where[0]) + 1 != len(where):
            raise SinkscopeError(f"the attention mask of sequence {row} must be one unbroken stretch of tokens")
        spans.append(Span(row, int(where[0]), int(where[-1]) + 1))
    return tuple(spans)
