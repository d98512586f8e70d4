"""What the slope of value gradients on column mass is made of, equation (11), sequence by sequence.

A pair is one column of one sequence: x = ln M_s^2 and y = ln |dL/dv_s|^2 of a kv head at an early position. The slope
of a line through all pairs needs six sums, and sums over the pairs of one sequence can be added and resampled: the
slope and its interval over sequences follow from them exactly, without the pairs.

Pairs of single sequences, and not of means over sequences: a mean over N sequences has lost what varies between them,
so its slope falls with N and is no property of the model.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sinkscope.capture.statistics.bound_tally import Pair, sampled_pairs
from sinkscope.capture.statistics.stack import Stack
from sinkscope.capture.statistics.statistic import Statistic

SUMS = ("pairs", "x", "y", "xx", "xy", "yy")  # what is summed, in the order of the columns of `SlopeSums.sums`


@dataclass
class SlopeSums(Statistic):
    """The sums of one layer by sequence, and a sample of its pairs.

    Attributes:
        sequences: numbers of the sequences, int64 [N].
        sums: by sequence, float64 [N, 6].
        sampled: pairs of the first sequences, M_s^2 as bound and |dL/dv_s|^2 as measured.
    """

    sequences: Stack = field(default_factory=Stack)
    sums: Stack = field(default_factory=Stack)
    sampled: list[Pair] = field(default_factory=list)

    def update(self, first: int, positions: Tensor, squared_gradient: Tensor, squared_mass: Tensor) -> None:
        """Adds the columns of sequences first..first+N-1.

        Args:
            first: number of the first sequence.
            positions: token positions of the last dimension, int64 [C].
            squared_gradient: |dL/dv_s|^2, [N, K, C].
            squared_mass: M_s^2, of the same shape.
        """
        known = (squared_gradient > 0) & (squared_mass > 0)
        x, y = (torch.where(known, value.double(), 1.0).log() for value in (squared_mass, squared_gradient))
        sums = torch.stack([part.sum((1, 2)) for part in (known.double(), x, y, x * x, x * y, y * y)], dim=1)
        self.sums.append(sums)
        self.sequences.append(torch.arange(first, first + len(sums), device=sums.device))
        self.sampled += sampled_pairs(first, positions, squared_gradient, squared_mass)

    def merge(self, other: "SlopeSums") -> None:
        """Adds the other's sequences."""
        self.sequences.merge(other.sequences)
        self.sums.merge(other.sums)
        self.sampled += other.sampled
