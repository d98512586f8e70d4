"""Streaming sums of activation gradients.

An optimizer step sees the gradient summed over its batch, so vectors are summed over sequences first and turned into
norms at the very end (arXiv:2603.17771, section 4). Only the early positions need whole vectors. Where the end is
known, as for a layer that a layer-by-layer analysis has done, `settle` keeps the few numbers and lets the vectors go:
those of a model of hundreds of billions of parameters would take more memory than a layer of it.

Shapes: N sequences of T tokens, P early positions, D channels.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from sinkscope.capture.statistics.site_statistics import grown
from sinkscope.capture.statistics.statistic import Statistic, total

MAX_BLOCKS = 32


@dataclass
class GradientSum(Statistic):
    """Sum over sequences of a gradient at the first `positions` positions.

    Attributes:
        positions: P.
        total: the sum, float32 [P, D]; empty once it is settled.
        settled: its norms, float64 [P], once it is.
    """

    positions: int
    total: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    settled: Tensor | None = None

    def update(self, grad: Tensor) -> None:
        """Adds a gradient [N, T, D], or [N, T, H, d] with D = H d."""
        early = grad[:, : self.positions]
        early = (early[0] if len(early) == 1 else early.sum(0, dtype=torch.float32)).flatten(1)
        self.total = grown(self.total.to(grad.device), early.shape[0], early.shape[1:])
        self.total[: early.shape[0]].add_(early)

    def merge(self, other: "GradientSum") -> None:
        """Adds the other's sum."""
        self.total = total(self.total, other.total)

    def norms(self) -> Tensor:
        """Token-wise l2 norms, float64 [P]."""
        if self.settled is not None:
            return self.settled
        norms: Tensor = torch.linalg.vector_norm(self.total, dim=-1, dtype=torch.float64)
        return norms

    def settle(self) -> None:
        """Keeps the norms alone; nothing may be added afterwards."""
        self.settled, self.total = self.norms().cpu(), torch.zeros(0, dtype=torch.float32)


@dataclass
class GradientBlocks(Statistic):
    """Gradient sums at hn over blocks of consecutive sequences, for an exact block bootstrap of R_GS.

    Block b holds sequences b * size .. (b + 1) * size - 1. The size starts at 1 and doubles whenever a sequence would
    open a 33rd block, so that the number of sequences need not be known in advance.

    Attributes:
        positions: P.
        size: sequences per block.
        length: positions that exist.
        sums: by block and position, float32 [blocks, P, D]; empty once they are settled.
        settled: their inner products, once they are.
    """

    positions: int
    size: int = 1
    length: int = 0
    sums: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    settled: Tensor | None = None

    def update(self, first: int, grad: Tensor) -> None:
        """Adds a gradient [N, T, D] of sequences first..first+N-1."""
        while (first + grad.shape[0] - 1) // self.size >= MAX_BLOCKS:
            self._coarsen()
        early = grad[:, : self.positions].float()
        self.length = max(self.length, early.shape[1])
        blocks = torch.arange(first, first + grad.shape[0], device=grad.device) // self.size
        shape = (self.positions, grad.shape[2])
        self.sums = grown(self.sums.to(grad.device), int(blocks[-1]) + 1, shape)
        self.sums[:, : early.shape[1]].index_add_(0, blocks, early)

    def merge(self, other: "GradientBlocks") -> None:
        """Adds the other's sums, both in blocks of the larger size; blocks count from the run's first sequence."""
        while self.size < other.size:
            self._coarsen()
        while other.size < self.size:
            other._coarsen()
        self.length = max(self.length, other.length)
        self.sums = total(self.sums, other.sums)

    def _coarsen(self) -> None:
        self.size *= 2
        if self.sums.shape[0]:
            even = grown(self.sums, self.sums.shape[0] + self.sums.shape[0] % 2, self.sums.shape[1:])
            self.sums = even[0::2] + even[1::2]

    def inner_products(self) -> Tensor:
        """Inner products of every two blocks at each position that exists: float64 [P, blocks, blocks]."""
        if self.settled is not None:
            return self.settled
        vectors = self.sums[:, : self.length].double().transpose(0, 1)
        return vectors @ vectors.transpose(1, 2)

    def settle(self) -> None:
        """Keeps the inner products alone; nothing may be added afterwards."""
        self.settled, self.sums = self.inner_products().cpu(), torch.zeros(0, dtype=torch.float32)
