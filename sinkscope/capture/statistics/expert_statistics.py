"""Streaming statistics of the experts and the router of one layer.

Each expert sees other tokens than its neighbour, so what is one hidden state in a dense layer, the input of a down
projection, is here one per expert and sequence: the tokens of that sequence that were routed to the expert. Equation
(5) is applied to each of these. Everything is a sum, a maximum or a row per sequence, so that the states of two runs
over different sequences can be merged.

Shapes: S tokens of a batch, E experts, m tokens of one expert.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from sinkscope.capture.micro_batch import MicroBatch
from sinkscope.capture.statistics.stack import Stack
from sinkscope.capture.statistics.statistic import Statistic
from sinkscope.metrics.massive import is_massive
from sinkscope.metrics.moments import token_moments
from sinkscope.metrics.order import median_magnitude
from sinkscope.models.routing import ExpertPart, Routing

GROUPS = ("first", "sink", "other")


class Places(NamedTuple):
    """Where each of a batch's tokens stands.

    Attributes:
        sequence: number of its sequence in the run, int64 [S]; -1 for padding.
        position: its position in the sequence, int64 [S].
    """

    sequence: Tensor
    position: Tensor


def places(batch: MicroBatch, tokens: int, device: torch.device) -> Places:
    """Where the S = B * T tokens of a batch stand, flattened row by row."""
    T = tokens // batch.size
    sequence = (batch.first + torch.arange(batch.size))[:, None].repeat(1, T)
    position = torch.arange(T).repeat(batch.size, 1)
    for span in batch.spans or ():
        sequence[span.row, : span.start] = -1
        sequence[span.row, span.stop :] = -1
        position[span.row] -= span.start
    return Places(sequence.flatten().to(device), position.flatten().to(device))


@dataclass
class ExpertStatistics(Statistic):
    """The experts of one layer: what enters and what leaves their down projections.

    Attributes:
        experts: E.
        tokens: tokens given to each expert, int64 [E].
        values: values seen at each one's down_in, int64 [E].
        abs_max: largest |x| at each one's down_in, float32 [E].
        power_sums: sums of x, x^2, x^3, x^4 there, float64 [E, 4].
        massive: entries there that pass the test of equation (5), int64 [E].
        median_of: sequence and expert of each median, int64 [n, 2].
        medians: median |x| of each sequence's tokens at each expert that got some, float32 [n].
        output_max: largest |x| of each one's output, float32 [E].
        output_at: its sequence, position and channel, int64 [E, 3]; -1 for an expert without tokens.
    """

    experts: int
    tokens: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    values: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    abs_max: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    power_sums: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    massive: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    median_of: Stack = field(default_factory=Stack)
    medians: Stack = field(default_factory=Stack)
    output_max: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    output_at: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))

    def __post_init__(self) -> None:
        if len(self.tokens) != self.experts:
            E = self.experts
            self.tokens, self.values, self.massive = torch.zeros(3, E, dtype=torch.long)
            self.abs_max, self.output_max = torch.zeros(2, E, dtype=torch.float32)
            self.power_sums = torch.zeros(E, 4, dtype=torch.float64)
            self.output_at = torch.full((E, 3), -1)

    def update(self, part: ExpertPart, where: Places) -> None:
        """Adds one expert's part of a forward pass, its padding left out."""
        e = part.expert
        sequence = where.sequence[part.tokens]
        kept = sequence >= 0
        sequence, position = sequence[kept], where.position[part.tokens][kept]
        x, output = part.down_in[kept], part.output[kept]
        if not len(x):
            return
        for number in sequence.unique().tolist():
            rows = x[sequence == number]
            magnitude = rows.abs().float()
            median = median_magnitude(magnitude)
            self.median_of.append(torch.tensor([[number, e]]))
            self.medians.append(median.cpu()[None])
            self.massive[e] += int(is_massive(magnitude, median).sum())
        moments = token_moments(x)
        self.tokens[e] += len(x)
        self.values[e] += x.numel()
        self.abs_max[e] = max(self.abs_max[e], moments.abs_max.max().cpu())
        self.power_sums[e] += moments.power_sums.cpu()
        self._output(e, output, sequence, position)

    def merge(self, other: "ExpertStatistics") -> None:
        """Adds the other's sequences."""
        self.tokens = self.tokens + other.tokens
        self.values = self.values + other.values
        self.massive = self.massive + other.massive
        self.power_sums = self.power_sums + other.power_sums
        self.abs_max = torch.maximum(self.abs_max, other.abs_max)
        self.median_of.merge(other.median_of)
        self.medians.merge(other.medians)
        larger = (other.output_max > self.output_max) | (self.output_at[:, 0] < 0)  # the earlier one where equal
        self.output_at = torch.where(larger[:, None], other.output_at, self.output_at)
        self.output_max = torch.where(larger, other.output_max, self.output_max)

    def _output(self, e: int, output: Tensor, sequence: Tensor, position: Tensor) -> None:
        flat = output.abs().flatten()
        at = int(flat.argmax())
        largest = float(flat[at])
        if largest > float(self.output_max[e]) or int(self.output_at[e, 0]) < 0:
            row, channel = divmod(at, output.shape[1])
            self.output_max[e] = largest
            self.output_at[e] = torch.tensor([int(sequence[row]), int(position[row]), channel])


@dataclass
class RoutingStatistics(Statistic):
    """A layer's router, by group of tokens: position 0, other sinks of the layer, and the rest (`GROUPS`).

    Attributes:
        experts: E.
        tokens: tokens of each group, int64 [3].
        counts: tokens of each group given to each expert, int64 [3, E].
        weights: sum of their router weights there, float64 [3, E].
        entropy: sum over the group's tokens of the entropy of the router's scores in nats, float64 [3].
        chosen: k, the experts per token.
    """

    experts: int
    tokens: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.long))
    counts: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    weights: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float32))
    entropy: Tensor = field(default_factory=lambda: torch.zeros(3, dtype=torch.float64))
    chosen: int = 0

    def __post_init__(self) -> None:
        if self.counts.shape != (3, self.experts):
            self.counts = torch.zeros(3, self.experts, dtype=torch.long)
            self.weights = torch.zeros(3, self.experts, dtype=torch.float64)

    def update(self, routing: Routing, probabilities: Tensor, group: Tensor) -> None:
        """Adds a forward pass.

        Args:
            routing: what the router decided for S tokens.
            probabilities: scores of all experts, each token's summing to 1, float32 [S, E].
            group: index into `GROUPS` of each token, int64 [S]; -1 for padding.
        """
        entropy = torch.special.entr(probabilities.double()).sum(-1)
        self.chosen = routing.chosen.shape[1]
        for g in range(len(GROUPS)):
            members = group == g
            experts = routing.chosen[members].flatten()
            self.tokens[g] += int(members.sum())
            self.counts[g] += experts.bincount(minlength=self.experts).cpu()
            weights = routing.weights[members].flatten().double()
            self.weights[g] += weights.new_zeros(self.experts).index_add_(0, experts, weights).cpu()
            self.entropy[g] += entropy[members].sum().cpu()

    def merge(self, other: "RoutingStatistics") -> None:
        """Adds the other's sequences."""
        self.tokens = self.tokens + other.tokens
        self.counts = self.counts + other.counts
        self.weights = self.weights + other.weights
        self.entropy = self.entropy + other.entropy
        self.chosen = max(self.chosen, other.chosen)

    def overlap(self, group: int, other: int) -> float:
        """Share of the k experts that two different tokens have in common, the mean over all pairs of the two groups.

        The number of experts that tokens a and b share is sum_e [e in a] [e in b], so its sum over pairs follows from
        the counts n_e alone: sum_e n_e m_e, and within a group sum_e n_e (n_e - 1).
        """
        n, m = self.counts[group].double(), self.counts[other].double()
        if group == other:
            size = int(self.tokens[group])
            shared, pairs = float((n * (n - 1)).sum()), size * (size - 1)
        else:
            shared, pairs = float((n * m).sum()), int(self.tokens[group]) * int(self.tokens[other])
        return shared / pairs / self.chosen if pairs else float("nan")


def groups(where: Places, sinks: Tensor) -> Tensor:
    """The group of each token, int64 [S]: 0 at position 0, 1 at other sinks, 2 elsewhere, -1 for padding.

    Args:
        where: where the tokens stand.
        sinks: sequence, head and position of the layer's sinks, int64 [F, 3].
    """
    group = torch.full_like(where.sequence, 2)
    sinks = sinks[sinks[:, 0] >= where.sequence[where.sequence >= 0].min()]  # of this pass
    length = int(where.position.max()) + 1
    of_sinks = sinks[:, 0] * length + sinks[:, 2]
    group[torch.isin(where.sequence * length + where.position, of_sinks)] = 1
    group[where.position == 0] = 0
    group[where.sequence < 0] = -1
    return group
