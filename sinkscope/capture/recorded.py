"""What a run accumulates: the statistics of every layer, and the forward passes they come from.

The fields of `Recorded` are what is stored when an analysis is saved, what one process sends to another, and what the
tables are made of: all of it, and nothing else. A statistic that is no field here would be lost in all three places.
"""

from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor

from sinkscope.capture.micro_batch import MicroBatch
from sinkscope.capture.statistics.bound_tally import BoundTally
from sinkscope.capture.statistics.expert_statistics import ExpertStatistics, RoutingStatistics
from sinkscope.capture.statistics.gradient_statistics import GradientBlocks, GradientSum
from sinkscope.capture.statistics.head_statistics import HeadStatistics
from sinkscope.capture.statistics.layer_sites import LayerSites
from sinkscope.capture.statistics.learned_sink_statistics import LearnedSinks
from sinkscope.capture.statistics.modality_statistics import Modalities
from sinkscope.capture.statistics.site_statistics import ValueStatistics
from sinkscope.capture.statistics.slope_sums import SlopeSums
from sinkscope.errors import SinkscopeError

Key = tuple[int, Any]


@dataclass(eq=False, repr=False)
class Recorded:
    """The statistics of one run, or of the part of it that was seen so far.

    Attributes:
        sites: activation statistics by layer; what leaves the last layer stands under the number of layers.
        gradients: gradient sums by (layer, canonical site).
        heads: attention statistics by layer.
        values: norms of the values as attention sees them per kv head, by layer.
        raw_values: the same of the projected values; only where V-scale stands between.
        blocks: gradient blocks at hn by layer.
        reshaped: sums of the norms' vector-Jacobian products by (layer, branch).
        bounds: tallies by (layer, bound).
        slopes: what the slope of |dL/dv_s|^2 on M_s^2 is made of, at the early positions, by layer.
        batches: the forward passes seen.
        experts: the routed experts by layer, where there are some.
        shared_experts: the shared experts by layer, as one expert.
        routing: the routers by layer.
        learned_sinks: learned sinks by layer, where heads have them.
        modalities: the residual stream leaving a layer by kind of token, by layer, where a model reads images.
    """

    sites: dict[int, LayerSites] = field(default_factory=dict)
    gradients: dict[Key, GradientSum] = field(default_factory=dict)
    heads: dict[int, HeadStatistics] = field(default_factory=dict)
    values: dict[int, ValueStatistics] = field(default_factory=dict)
    raw_values: dict[int, ValueStatistics] = field(default_factory=dict)
    blocks: dict[int, GradientBlocks] = field(default_factory=dict)
    reshaped: dict[Key, GradientSum] = field(default_factory=dict)
    bounds: dict[Key, BoundTally] = field(default_factory=dict)
    slopes: dict[int, SlopeSums] = field(default_factory=dict)
    batches: list[MicroBatch] = field(default_factory=list)
    experts: dict[int, ExpertStatistics] = field(default_factory=dict)
    shared_experts: dict[int, ExpertStatistics] = field(default_factory=dict)
    routing: dict[int, RoutingStatistics] = field(default_factory=dict)
    learned_sinks: dict[int, LearnedSinks] = field(default_factory=dict)
    modalities: dict[int, Modalities] = field(default_factory=dict)

    def state(self) -> dict[str, Any]:
        """The fields by name; the objects themselves, not copies."""
        return {name: getattr(self, name) for name in NAMES}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes a state in the place of one's own.

        Raises:
            SinkscopeError: if it has other fields, as one that another version stored may.
        """
        _check(state)
        for name, kept in state.items():
            setattr(self, name, kept)

    def merge(self, state: dict[str, Any]) -> None:
        """Adds the state of another run's part, of the sequences that come after one's own.

        Raises:
            SinkscopeError: if it has other fields.
        """
        _check(state)
        for name, kept in state.items():
            mine = getattr(self, name)
            if isinstance(kept, list):
                mine += kept
                continue
            for key, statistic in kept.items():
                if key in mine:
                    mine[key].merge(statistic)
                else:
                    mine[key] = statistic

    def in_order(self) -> None:
        """Sorts what was recorded by layer, whatever the order in which a driver went through them."""
        for kept in self.state().values():
            if isinstance(kept, dict):
                ordered = sorted(kept.items(), key=lambda item: item[0][0] if isinstance(item[0], tuple) else item[0])
                kept.clear()
                kept.update(ordered)

    def sink_positions(self) -> dict[int, Tensor]:
        """By layer, the positions where some head has a sink, int64 on the CPU, ascending."""
        return {layer: heads.sink_positions().cpu() for layer, heads in self.heads.items()}

    def incomplete(self, elsewhere: dict[int, Tensor] | None = None) -> dict[int, Tensor]:
        """By layer, the columns with a sink whose sums lack some sequences; layers without such are left out.

        Args:
            elsewhere: by layer, positions that have a sink in sequences that others measure.
        """
        others = elsewhere or {}
        missing = {layer: heads.incomplete(others.get(layer)) for layer, heads in self.heads.items()}
        return {layer: columns for layer, columns in missing.items() if len(columns)}

    def lacking(self, missing: dict[int, Tensor]) -> dict[int, dict[int, Tensor]]:
        """By forward pass and layer, the columns whose sums the pass has not taken; others are left out.

        Args:
            missing: columns with a sink by layer, int64, as `incomplete` tells them.
        """
        by_pass = {}
        for number, batch in enumerate(self.batches):
            layers = {
                layer: self.heads[layer].lacking(columns, batch.first, batch.size) for layer, columns in missing.items()
            }
            by_pass[number] = {layer: columns for layer, columns in layers.items() if len(columns)}
        return {number: layers for number, layers in by_pass.items() if layers}


NAMES = tuple(one.name for one in fields(Recorded))


def _check(state: dict[str, Any]) -> None:
    if set(state) != set(NAMES):
        raise SinkscopeError("the saved statistics are those of another version of sinkscope: `force` to start anew")
