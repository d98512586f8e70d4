"""Bookkeeping of measured quantities against their bounds."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sinkscope.capture.statistics.statistic import Statistic, stored
from sinkscope.metrics.bounds import measured_over_bound

SAMPLED_SEQUENCES = 8


@stored
@dataclass(frozen=True)
class Pair:
    """A sampled pair for the scatter; `kv_head` is None where the bound has none."""

    kv_head: int | None
    sequence: int
    position: int
    bound: float
    measured: float


@dataclass
class BoundTally(Statistic):
    """One bound of one layer over a run.

    Attributes:
        tolerance: measured / bound may exceed 1 by this much before it counts as a violation.
        checked: pairs compared; zero bounds are left out.
        total: sum of measured / bound.
        largest: maximum of measured / bound.
        violations: pairs beyond the tolerance.
        sampled: measured and bound tensors of the first sequences, not yet turned into pairs.
    """

    tolerance: float
    checked: int = 0
    total: float = 0.0
    largest: float = 0.0
    violations: int = 0
    sampled: list[Pair] = field(default_factory=list)

    def update(self, first: int, positions: Tensor, measured: Tensor, bound: Tensor) -> None:
        """Adds pairs.

        Args:
            first: number of the first sequence.
            positions: token positions of the last dimension, int64 [C].
            measured: [N, C], or [N, K, C] with kv heads.
            bound: of the same shape; 0 where a pair is not covered.
        """
        ratio = measured_over_bound(measured, bound)
        known = ~ratio.isnan()
        sums = (known.sum(), ratio.nansum(), ratio.nan_to_num(0.0).max(), (ratio > 1 + self.tolerance).sum())
        checked, total, largest, violations = torch.stack([x.double() for x in sums]).tolist()  # one wait for a GPU
        self.checked += int(checked)
        self.total += total
        self.largest = max(self.largest, largest)
        self.violations += int(violations)
        self.sampled += sampled_pairs(first, positions, measured, bound)

    def merge(self, other: "BoundTally") -> None:
        """Adds the other's pairs."""
        self.checked += other.checked
        self.total += other.total
        self.largest = max(self.largest, other.largest)
        self.violations += other.violations
        self.sampled += other.sampled


def sampled_pairs(first: int, positions: Tensor, measured: Tensor, bound: Tensor) -> list[Pair]:
    """The pairs with a bound at positions 0, 1, 2, 4, 8, ... of the run's first sequences; shapes as for `update`."""
    if first >= SAMPLED_SEQUENCES:
        return []
    sparse = (positions & (positions - 1)) == 0
    keep = (bound > 0) & sparse
    keep[SAMPLED_SEQUENCES - first :] = False
    where = torch.nonzero(keep)
    pairs = (where.tolist(), positions[where[:, -1]].tolist(), bound[keep].tolist(), measured[keep].tolist())
    return [
        Pair(index[1] if len(index) == 3 else None, first + index[0], position, limit, value)
        for index, position, limit, value in zip(*pairs, strict=True)
    ]
