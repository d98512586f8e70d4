"""Streaming statistics of the activations at one site of one layer.

Shapes: N sequences of T tokens, D channels.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from sinkscope.capture.statistics.stack import Stack
from sinkscope.capture.statistics.statistic import Statistic, total
from sinkscope.metrics.massive import Entries, largest_entries, massive_counts
from sinkscope.metrics.moments import token_moments
from sinkscope.metrics.order import median_magnitude
from sinkscope.quantities.massive_facts import LISTED
from sinkscope.quantities.measured import NEIGHBOURS

_EARLY = slice(NEIGHBOURS[0], NEIGHBOURS[1] + 1)


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
        self.sum[:T] += x.sum(0, dtype=torch.float64)
        self.count[:T] += x.shape[0]

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
        self.early.append(norms[:, _EARLY].mean((1, 2)))

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


@dataclass
class SiteStatistics(Statistic):
    """Everything that the tables say of a site's activations.

    Attributes:
        keeps_entries: whether the largest entries are kept (sites where massive activations are looked for).
        norms: token norms by position, mean over sequences.
        norm_max: the same, maximum over sequences [T].
        count: values seen.
        power_sums: float64 [4], sums of x, x^2, x^3, x^4.
        medians: median |x| per sequence.
        maxima: largest |x| per sequence.
        token_zero: norm at position 0 per sequence.
        early: mean norm over positions 1..15 per sequence (NaN for sequences of one token).
        largest: the largest entries per sequence, where they are kept.
        massive: per sequence the massive entries, their positions and channels, int64 [N, 3], where entries are kept.
    """

    keeps_entries: bool = False
    norms: PositionMean = field(default_factory=PositionMean)
    norm_max: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    count: int = 0
    power_sums: Tensor = field(default_factory=lambda: torch.zeros(4, dtype=torch.float64))
    medians: Stack = field(default_factory=Stack)
    maxima: Stack = field(default_factory=Stack)
    token_zero: Stack = field(default_factory=Stack)
    early: Stack = field(default_factory=Stack)
    largest: LargestEntries = field(default_factory=LargestEntries)
    massive: Stack = field(default_factory=Stack)

    def update(self, x: Tensor) -> Tensor:
        """Adds activations x [N, T, D] of the run's next N sequences; returns their token norms [N, T]."""
        moments = token_moments(x)
        norms = moments.squared_norms.sqrt()
        self.norms.update(norms)
        T = x.shape[1]
        self.norm_max = grown(self.norm_max.to(x.device), T, ())
        self.norm_max[:T] = torch.maximum(self.norm_max[:T], norms.amax(0))
        self.count += x.numel()
        self.power_sums = self.power_sums.to(x.device) + moments.power_sums
        medians = torch.stack([median_magnitude(sequence) for sequence in x])
        self.medians.append(medians)
        self.maxima.append(moments.abs_max.amax(1))
        self.token_zero.append(norms[:, 0])
        self.early.append(norms[:, _EARLY].mean(1))
        if self.keeps_entries:
            largest = largest_entries(x, moments.abs_max, LISTED)
            self.largest.append(largest)
            self.massive.append(massive_counts(x, medians, largest))
        return norms

    def merge(self, other: "SiteStatistics") -> None:
        """Adds the other's sequences."""
        self.norms.merge(other.norms)
        norm_max = grown(self.norm_max, len(other.norm_max), ())
        norm_max[: len(other.norm_max)] = torch.maximum(norm_max[: len(other.norm_max)], other.norm_max)
        self.norm_max = norm_max
        self.count += other.count
        self.power_sums = self.power_sums + other.power_sums
        for mine, others in (
            (self.medians, other.medians),
            (self.maxima, other.maxima),
            (self.token_zero, other.token_zero),
            (self.early, other.early),
            (self.massive, other.massive),
        ):
            mine.merge(others)
        self.largest.merge(other.largest)
