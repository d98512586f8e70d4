"""Streaming statistics of the activations at the sites of one layer.

Of a site's tensor, only what takes a pass over it is taken where it is at hand (`reduced`): a few numbers per token.
The rest works on these numbers, some twenty small operations, which in short sequences take longer than the passes over
the tensors. So the sites of a layer wait for each other, and are added as one (`LayerSites.add`).

Shapes: N sequences of T tokens, D channels, S sites.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from sinkscope.capture.statistics.site_statistics import EARLY, LargestEntries, PositionMean, grown
from sinkscope.capture.statistics.stack import Stack
from sinkscope.capture.statistics.statistic import Statistic, total
from sinkscope.errors import SinkscopeError
from sinkscope.metrics.massive import Entries, largest_entries, massive_counts
from sinkscope.metrics.moments import Moments, token_moments
from sinkscope.metrics.order import median_magnitude
from sinkscope.quantities.massive_facts import LISTED
from sinkscope.sites import Site


class Reduced(NamedTuple):
    """What is taken of the activations at one site of some sequences.

    Attributes:
        moments: of the tokens.
        medians: median |x| of each sequence, N of them.
        values: how many there were.
        largest: the largest entries, where they are kept.
        massive: counts of the massive ones, int64 [N, 3], where entries are kept.
    """

    moments: Moments
    medians: list[Tensor]
    values: int
    largest: Entries | None = None
    massive: Tensor | None = None


def reduced(x: Tensor, *, keeps_entries: bool) -> Reduced:
    """Reduces activations x [N, T, D]; largest entries are kept at sites where massive activations are looked for."""
    moments = token_moments(x)
    medians = [median_magnitude(sequence) for sequence in x]
    if not keeps_entries:
        return Reduced(moments, medians, x.numel())
    largest = largest_entries(x, moments.largest_squares, LISTED)
    return Reduced(moments, medians, x.numel(), largest, massive_counts(x, torch.stack(medians), largest))


@dataclass
class SiteEntries(Statistic):
    """The largest entries at one site, per sequence.

    Attributes:
        largest: the entries.
        massive: the massive ones, their positions and channels counted, int64 [N, 3].
    """

    largest: LargestEntries = field(default_factory=LargestEntries)
    massive: Stack = field(default_factory=Stack)

    def merge(self, other: "SiteEntries") -> None:
        """Adds the other's sequences."""
        self.largest.merge(other.largest)
        self.massive.merge(other.massive)


@dataclass(frozen=True)
class SiteStatistics:
    """Everything that the tables say of the activations at one site.

    Attributes:
        norms: token norms by position, mean over sequences, float64 [T].
        norm_max: the same, maximum over sequences.
        count: values seen.
        power_sums: float64 [4], sums of x, x^2, x^3, x^4.
        medians: median |x| per sequence [N].
        maxima: largest |x| per sequence.
        token_zero: norm at position 0 per sequence.
        early: mean norm over positions 1..15 per sequence (NaN for sequences of one token).
        entries: the largest entries, where they are kept.
    """

    norms: Tensor
    norm_max: Tensor
    count: int
    power_sums: Tensor
    medians: Tensor
    maxima: Tensor
    token_zero: Tensor
    early: Tensor
    entries: SiteEntries | None


@dataclass
class LayerSites(Statistic):
    """The statistics of S sites that every forward pass goes through together; `of` reads those of one.

    Attributes:
        sites: their names, in the order of the last dimension of everything below.
        norms: token norms by position, mean over sequences.
        norm_max: the same, maximum over sequences [T, S].
        counts: values seen.
        power_sums: float64 [S, 4].
        medians: per sequence [N, S], as are the next three.
        maxima: largest |x|.
        token_zero: norm at position 0.
        early: mean norm over positions 1..15.
        entries: by site, where they are kept.
    """

    sites: list[Site] = field(default_factory=list)
    norms: PositionMean = field(default_factory=PositionMean)
    norm_max: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float32))
    counts: list[int] = field(default_factory=list)
    power_sums: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    medians: Stack = field(default_factory=Stack)
    maxima: Stack = field(default_factory=Stack)
    token_zero: Stack = field(default_factory=Stack)
    early: Stack = field(default_factory=Stack)
    entries: dict[Site, SiteEntries] = field(default_factory=dict)

    def add(self, sites: list[Site], parts: Sequence[Reduced]) -> None:
        """Adds the run's next N sequences.

        Args:
            sites: the sites, the same at every call.
            parts: what was taken at each.
        """
        if not self.sites:
            self._begin(sites, parts[0].moments.power_sums.device)
        self._same(sites)
        norms = torch.stack([part.moments.squared_norms for part in parts]).sqrt_()  # [S, N, T]
        by_position = norms.permute(1, 2, 0)
        self.norms.update(by_position)
        T = norms.shape[2]
        self.norm_max = grown(self.norm_max.to(norms.device), T, (len(sites),))
        longest = self.norm_max[:T]
        torch.maximum(longest, by_position.amax(0), out=longest)
        self.counts = [mine + part.values for mine, part in zip(self.counts, parts, strict=True)]
        self.power_sums.add_(torch.stack([part.moments.power_sums for part in parts]))
        medians = torch.stack([median for part in parts for median in part.medians])
        self.medians.append(medians.view(len(sites), -1).T)
        self.maxima.append(torch.stack([part.moments.largest_squares for part in parts]).amax(2).sqrt_().T)
        self.token_zero.append(norms[..., 0].T)
        self.early.append(norms[..., EARLY].mean(2).T)
        for site, part in zip(sites, parts, strict=True):
            if part.largest is not None and part.massive is not None:
                entries = self.entries.setdefault(site, SiteEntries())
                entries.largest.append(part.largest)
                entries.massive.append(part.massive)

    def of(self, site: Site) -> SiteStatistics:
        """What the tables say of one site."""
        at = self.sites.index(site)
        stacks = (self.medians, self.maxima, self.token_zero, self.early)
        medians, maxima, token_zero, early = (stack.rows()[:, at] for stack in stacks)
        return SiteStatistics(
            self.norms.mean()[:, at], self.norm_max[:, at], self.counts[at], self.power_sums[at], medians, maxima,
            token_zero, early, self.entries.get(site),
        )  # fmt: skip

    def merge(self, other: "LayerSites") -> None:
        """Adds the other's sequences."""
        self._same(other.sites)
        self.norms.merge(other.norms)
        norm_max = grown(self.norm_max, len(other.norm_max), self.norm_max.shape[1:])
        shared = norm_max[: len(other.norm_max)]
        shared.copy_(torch.maximum(shared, other.norm_max.to(shared.device)))
        self.norm_max = norm_max
        self.counts = [mine + others for mine, others in zip(self.counts, other.counts, strict=True)]
        self.power_sums = total(self.power_sums, other.power_sums)
        self.medians.merge(other.medians)
        self.maxima.merge(other.maxima)
        self.token_zero.merge(other.token_zero)
        self.early.merge(other.early)
        for site, entries in self.entries.items():
            entries.merge(other.entries[site])

    def _begin(self, sites: list[Site], device: torch.device) -> None:
        self.sites, self.counts = list(sites), [0] * len(sites)
        self.power_sums = torch.zeros(len(sites), 4, dtype=torch.float64, device=device)

    def _same(self, sites: list[Site]) -> None:
        if sites != self.sites:
            raise SinkscopeError(
                f"a forward pass went through {_named(sites)}, those before it through {_named(self.sites)}: measure "
                "each in a Scope of its own"
            )


def _named(sites: list[Site]) -> str:
    return ", ".join(str(site) for site in sites)
