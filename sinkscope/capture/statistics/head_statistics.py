"""Streaming statistics of the attention heads of one layer.

alpha comes for every position from a band of weights. Column mass and second moment are taken at the early positions
and wherever this forward pass has a sink. What the tables say of a sink covers all sequences, also those without one at
its position, and which positions these are is known at the end only. While q and k are at hand, the sums of all other
columns (`fill`) cost less than the attention did; to make q and k again costs a forward pass. So they are taken as soon
as it looks as if there were sinks beyond the early positions (`suspected`), and a model without any pays for none. What
a pass before that lacks, `incomplete` and `lacking` tell.

Shapes: N sequences of T tokens, H query heads, S positions with a defined alpha, C covered columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from sinkscope.capture.settings import Settings
from sinkscope.capture.statistics.attention_columns import (
    alpha,
    column_sums,
    every_column,
    one_head,
    pooled_map,
    window_map,
)
from sinkscope.capture.statistics.site_statistics import PositionMean, grown
from sinkscope.capture.statistics.stack import Stack
from sinkscope.capture.statistics.statistic import Statistic, total
from sinkscope.metrics.sinks import is_sink, norm_ranks
from sinkscope.models.taps.attention_tap import AttentionCall

WINDOW = 128
CELLS = 64
QUERIES_PER_CELL = 8
_NEARLY = 0.5  # of epsilon: an alpha beyond it lets one expect that another sequence has a sink


class Covered(NamedTuple):
    """The columns of one forward pass whose sums are known.

    Attributes:
        columns: positions s [C], ascending.
        mass: M_s [N, H, C].
        second_moment: S_s [N, H, C].
        included: whether a sequence's column is covered by the bounds, bool [N, C].
    """

    columns: Tensor
    mass: Tensor
    second_moment: Tensor
    included: Tensor


@dataclass
class HeadStatistics(Statistic):
    """Everything that the tables say of a layer's heads.

    Attributes:
        settings: what is measured.
        alpha: alpha_s by position and head, mean over sequences.
        sink_share: the same for whether alpha_s exceeds epsilon.
        mass: sums over sequences of M_s by position and head, float64 [T, H].
        second_moment: the same for S_s.
        counted: sequences in these sums, by position [T].
        lengths: tokens of each sequence.
        sink_rates: share of heads with a sink at position 0, per sequence.
        sinks: sequence, head and position of every sink, int64 [F, 3].
        sink_alphas: their alphas [F].
        tokens: sequence, position, heads with a sink there, and rank of its norm among the sequence's, of every token
            that is a sink of some head and of position 0, int64 [F, 4].
        token_norms: norms of these tokens entering the layer [F].
        maps: head, kind and weights of the attention maps of the run's first sequence.
        suspected: whether some head came near a sink beyond the early positions.
        filled: first sequences of the forward passes whose every column is summed.
    """

    settings: Settings
    alpha: PositionMean = field(default_factory=PositionMean)
    sink_share: PositionMean = field(default_factory=PositionMean)
    mass: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    second_moment: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    counted: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    lengths: list[int] = field(default_factory=list)
    sink_rates: Stack = field(default_factory=Stack)
    sinks: Stack = field(default_factory=Stack)
    sink_alphas: Stack = field(default_factory=Stack)
    tokens: Stack = field(default_factory=Stack)
    token_norms: Stack = field(default_factory=Stack)
    maps: list[tuple[int, str, Tensor]] = field(default_factory=list)
    suspected: bool = False
    filled: list[int] = field(default_factory=list)

    def update(self, first: int, calls: list[AttentionCall], norms: Sequence[Tensor]) -> list[Covered]:
        """Adds a forward pass: calls without padding, the first of them on sequence `first` and the ones after it.

        Args:
            first: number of the first sequence.
            calls: on the sequences in their order.
            norms: of the tokens entering the layer, per call [N, T].
        """
        numbers = [first + sum(call.q.shape[0] for call in calls[:index]) for index in range(len(calls))]
        sinks_of_calls = [
            self._find(number, call, entering) for number, call, entering in zip(numbers, calls, norms, strict=True)
        ]
        anywhere = torch.cat([torch.nonzero(sinks.any(0)).flatten() for sinks in sinks_of_calls]).unique()
        return [self._cover(call, sinks, anywhere) for call, sinks in zip(calls, sinks_of_calls, strict=True)]

    def fill(self, first: int, calls: list[AttentionCall], covered: list[Covered]) -> None:
        """Adds the sums of a forward pass at every column that `update` left out.

        Args:
            first: number of the first sequence.
            calls: as `update` took them.
            covered: what it returned.
        """
        for call, known in zip(calls, covered, strict=True):
            rest = torch.ones(call.q.shape[2], dtype=torch.bool, device=call.q.device)
            rest[known.columns] = False
            mass, second_moment = every_column(call)
            columns = torch.nonzero(rest).flatten()
            self._add(columns, mass[..., columns], second_moment[..., columns], call.q.shape[0])
        self.filled.append(first)

    def follow(self, calls: list[AttentionCall], covered: list[Covered]) -> None:
        """Adds the sums of a forward pass at the sinks of passes before it, which `update` left out."""
        for call, known in zip(calls, covered, strict=True):
            before = self.sink_positions()
            self.sweep(call, before[~torch.isin(before, known.columns)])

    def sweep(self, call: AttentionCall, columns: Tensor) -> None:
        """Adds the column sums of a forward pass at `columns` only."""
        columns = columns[columns < call.q.shape[2]]
        self._add(columns, *column_sums(call, columns), call.q.shape[0])

    def sink_positions(self) -> Tensor:
        """Positions with a sink, int64, ascending."""
        positions: Tensor = self.sinks.rows()[:, 2].unique()
        return positions

    def incomplete(self, elsewhere: Tensor | None = None) -> Tensor:
        """Positions with a sink whose column sums lack some sequences, int64, ascending.

        Args:
            elsewhere: positions that have a sink in sequences that others measure, int64.
        """
        positions = self.sink_positions()
        if elsewhere is not None:
            positions = torch.cat([positions, elsewhere.to(positions.device)]).unique()
        lengths = torch.tensor(self.lengths, device=positions.device)
        expected = (lengths[None] > positions[:, None]).sum(1)
        counted = torch.zeros_like(expected, dtype=self.counted.dtype)
        known = positions < len(self.counted)
        counted[known] = self.counted[positions[known]]
        return positions[counted != expected]

    def lacking(self, positions: Tensor, first: int, size: int) -> Tensor:
        """Those of some positions whose sums a forward pass over sequences first..first+size-1 has not taken.

        A pass has taken those at the early positions, at its own sinks, and at those of the passes before it.

        Args:
            positions: int64, ascending.
            first: number of the pass's first sequence.
            size: its sequences.
        """
        if first in self.filled or self.settings.columns == "all":
            return positions[:0]
        sinks = self.sinks.rows()
        taken = sinks[sinks[:, 0] < first + size, 2].to(positions.device)
        return positions[(positions > self.settings.early) & ~torch.isin(positions, taken)]

    def merge(self, other: "HeadStatistics") -> None:
        """Adds the other's sequences."""
        self.alpha.merge(other.alpha)
        self.sink_share.merge(other.sink_share)
        self.mass = total(self.mass, other.mass)
        self.second_moment = total(self.second_moment, other.second_moment)
        self.counted = total(self.counted, other.counted)
        self.lengths += other.lengths
        self.sink_rates.merge(other.sink_rates)
        self.sinks.merge(other.sinks)
        self.sink_alphas.merge(other.sink_alphas)
        self.tokens.merge(other.tokens)
        self.token_norms.merge(other.token_norms)
        self.maps += other.maps
        self.suspected |= other.suspected
        self.filled += other.filled

    def _find(self, first: int, call: AttentionCall, norms: Tensor) -> Tensor:
        """Adds a call's alphas, sinks and norms there; tells which positions hold a sink of any head, bool [N, S]."""
        values = alpha(call, self.settings.sink_window)
        sinks = is_sink(values, self.settings.sink_epsilon)
        self.alpha.update(values.transpose(1, 2))
        self.sink_share.update(sinks.transpose(1, 2))
        self.sink_rates.append(sinks[:, :, 0].double().mean(1))
        where = torch.nonzero(sinks)
        where[:, 0] += first
        self.sinks.append(where)
        self.sink_alphas.append(values[sinks])
        self._rank(first, sinks.sum(1), norms)
        if not self.suspected:
            late = values[:, :, self.settings.early + 1 :]
            self.suspected = bool((late > _NEARLY * self.settings.sink_epsilon).any())
        if first == 0:
            self._draw(call, values[0, :, 0])
        self.lengths += [call.q.shape[2]] * len(values)
        return sinks.any(1)

    def _rank(self, first: int, heads: Tensor, norms: Tensor) -> None:
        """Adds the tokens that are a sink of some of the heads [N, S], and those at position 0."""
        listed = heads > 0
        listed[:, 0] = True
        sequence, position = torch.nonzero(listed, as_tuple=True)
        rank = norm_ranks(norms, sequence, position)
        self.tokens.append(torch.stack([first + sequence, position, heads[listed], rank], 1))
        self.token_norms.append(norms[sequence, position])

    def _cover(self, call: AttentionCall, sinks: Tensor, anywhere: Tensor) -> Covered:
        """Adds a call's column sums at the early columns and wherever its forward pass has a sink."""
        N, T = call.q.shape[0], call.q.shape[2]
        position = torch.arange(T, device=sinks.device)
        always = position <= (T if self.settings.columns == "all" else self.settings.early)
        columns = position[always | torch.isin(position, anywhere)]
        sums = column_sums(call, columns)
        self._add(columns, *sums, N)
        own = torch.zeros(N, T, dtype=torch.bool, device=sinks.device)
        own[:, : sinks.shape[1]] = sinks
        return Covered(columns, *sums, (always | own)[:, columns])

    def _add(self, columns: Tensor, mass: Tensor, second_moment: Tensor, sequences: int) -> None:
        if not len(columns):
            return
        length, H = int(columns[-1]) + 1, mass.shape[1]
        self.mass = grown(self.mass.to(mass.device), length, (H,))
        self.second_moment = grown(self.second_moment.to(mass.device), length, (H,))
        self.counted = grown(self.counted.to(mass.device), length, ())
        self.mass.index_add_(0, columns, mass.sum(0, dtype=torch.float64).T)
        self.second_moment.index_add_(0, columns, second_moment.sum(0, dtype=torch.float64).T)
        self.counted[columns] += sequences

    def _draw(self, call: AttentionCall, alpha_zero: Tensor) -> None:
        for head in sorted({int(alpha_zero.argmax()), int(alpha_zero.argmin())}):
            one = one_head(call, 0, head)
            self.maps.append((head, "window", window_map(one, WINDOW).cpu()))
            self.maps.append((head, "pooled", pooled_map(one, CELLS, QUERIES_PER_CELL).cpu()))
