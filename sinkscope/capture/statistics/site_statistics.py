"""What statistics of activations are made of: means by position, norms of values, largest entries.

Shapes: N sequences of T tokens.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from sinkscope.capture.statistics.stack import Stack
from sinkscope.capture.statistics.statistic import Statistic, total
from sinkscope.metrics.massive import Entries
from sinkscope.quantities.massive_facts import LISTED
from sinkscope.quantities.measured import NEIGHBOURS

EARLY = slice(NEIGHBOURS[0], NEIGHBOURS[1] + 1)


def listed(positions: int) -> int:
    """How many early positions have rows where `positions` are asked for: never fewer than equation (3) reads."""
    return max(positions, EARLY.stop)


class PositionMean(Statistic):
    """Mean over sequences at each position, for sequences of any length; float64."""

    def __init__(self) -> None:
        self.sum = torch.zeros(0, dtype=torch.float64)
        self.count = torch.zeros(0, dtype=torch.float64)

    def update(self, x: Tensor) -> None:
        """Adds values [N, T, ...]."""
        T = x.shape[1]
        self.sum = grown(self.sum.to(x.device), T, x.shape[2:])
        self.count = grown(self.count.to(x.device), T, ())
        self.sum[:T].add_(x.sum(0, dtype=torch.float64))
        self.count[:T].add_(x.shape[0])

    def merge(self, other: "PositionMean") -> None:
        """Adds the other's sequences."""
        self.sum = total(self.sum, other.sum)
        self.count = total(self.count, other.count)

    def mean(self) -> Tensor:
        """Means [T, ...]."""
        return self.sum / self.count.view(-1, *[1] * (self.sum.dim() - 1))


def grown(x: Tensor, length: int, rest: tuple[int, ...] | torch.Size, fill: float = 0.0) -> Tensor:
    """`x` extended along its first dimension to at least `length`, padded with `fill`."""
    if x.shape[0] >= length and x.shape[1:] == rest:
        return x
    out = x.new_full((max(length, x.shape[0]), *rest), fill)
    if x.shape[0]:
        out[: x.shape[0]] = x
    return out


@dataclass
class ValueStatistics(Statistic):
    """Norms of the values per kv head (equation 4).

    Attributes:
        norms: by position and head, mean over sequences.
        token_zero: norm at position 0 per sequence, averaged over heads.
        early: the same over positions 1..15.
    """

    norms: PositionMean = field(default_factory=PositionMean)
    token_zero: Stack = field(default_factory=Stack)
    early: Stack = field(default_factory=Stack)

    def update(self, norms: Tensor) -> None:
        """Adds norms [N, T, K]."""
        self.norms.update(norms)
        self.token_zero.append(norms[:, 0].mean(1))
        self.early.append(norms[:, EARLY].mean((1, 2)))

    def merge(self, other: "ValueStatistics") -> None:
        """Adds the other's sequences."""
        self.norms.merge(other.norms)
        self.token_zero.merge(other.token_zero)
        self.early.merge(other.early)


@dataclass
class LargestEntries(Statistic):
    """The largest entries of each sequence, all [N, K]; the fields are those of `metrics.massive.Entries`."""

    position: Stack = field(default_factory=Stack)
    channel: Stack = field(default_factory=Stack)
    value: Stack = field(default_factory=Stack)

    def append(self, entries: Entries) -> None:
        """Adds the entries of some sequences, padded with nulls where these have fewer than `LISTED` values."""
        missing = (0, LISTED - entries.value.shape[1])
        if not missing[1]:
            self.position.append(entries.position)
            self.channel.append(entries.channel)
            self.value.append(entries.value)
            return
        self.position.append(functional.pad(entries.position, missing))
        self.channel.append(functional.pad(entries.channel, missing))
        self.value.append(functional.pad(entries.value, missing, value=torch.nan))

    def merge(self, other: "LargestEntries") -> None:
        """Adds the other's sequences."""
        self.position.merge(other.position)
        self.channel.merge(other.channel)
        self.value.merge(other.value)
