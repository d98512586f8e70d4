"""Bookkeeping of measured quantities against their bounds."""

from dataclasses import dataclass, field
from itertools import product

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
    sparse = torch.nonzero((positions & (positions - 1)) == 0).flatten()
    # Few columns are left of hundreds, and are looked at as plain numbers.
    limits, values = (x[: SAMPLED_SEQUENCES - first].index_select(-1, sparse) for x in (bound, measured))
    heads: list[int | None] = [None] if bound.dim() == 2 else list(range(bound.shape[1]))
    places = product(range(len(limits)), heads, positions[sparse].tolist())
    pairs = zip(places, limits.flatten().tolist(), values.flatten().tolist(), strict=True)
    return [
        Pair(head, first + sequence, position, limit, value)
        for (sequence, head, position), limit, value in pairs
        if limit > 0
    ]
