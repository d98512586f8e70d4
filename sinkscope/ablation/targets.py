"""What a run of `analyze` says is there to take away: massive entries, sinks, and the heads that attend to them.

massive     channels of the residual stream leaving a layer with entries over 100 and over 1000 times the median; their
thresholds and means
first       a channel's massive activations first appear in the first layer where at least half of those sequences have
one that have one anywhere: a few entries just over the threshold, layers earlier, are not where it starts
sinks       positions where at least half of the sequences have a sink in some head
heads       heads whose attention to such a position exceeds epsilon on average
"""

from dataclasses import dataclass, field

import pandas as pd

from sinkscope.metrics.massive import ABSOLUTE, RELATIVE
from sinkscope.tables.run_folder import Run

_HALF = 0.5


@dataclass(frozen=True)
class MassiveChannels:
    """The massive channels of one layer's output.

    Attributes:
        means: mean over the run's massive entries, by channel, ascending.
        threshold: |x| from which an entry is massive: 100, or 1000 times the run's median.
    """

    means: dict[int, float]
    threshold: float

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels, ascending."""
        return tuple(self.means)


@dataclass(frozen=True)
class Targets:
    """What there is to take away.

    Attributes:
        massive: by layer, wherever there are massive entries.
        first: by layer, each channel where its own first appear.
        sinks: positions, ascending.
        heads: sink heads by layer.
    """

    massive: dict[int, MassiveChannels] = field(default_factory=dict)
    first: dict[int, MassiveChannels] = field(default_factory=dict)
    sinks: tuple[int, ...] = ()
    heads: dict[int, tuple[int, ...]] = field(default_factory=dict)


def targets_of(run: Run) -> Targets:
    """What a run says is there to take away."""
    massive, first = _massive(run)
    sinks = _sinks(run)
    return Targets(massive, first, sinks, _heads(run, sinks))


def _massive(run: Run) -> tuple[dict[int, MassiveChannels], dict[int, MassiveChannels]]:
    table = run["massive"]
    table = table[(table["site"] == "h_out") & table["is_massive"]]
    medians = run["sites"].query("site == 'h_out'").set_index("layer")["abs_median"]
    everywhere: dict[int, MassiveChannels] = {}
    for layer in sorted({int(layer) for layer in table["layer"]}):
        means = table[table["layer"] == layer].groupby("channel")["value"].mean()
        threshold = max(ABSOLUTE, RELATIVE * float(medians[layer]))
        found = dict(zip(means.index.astype(int).tolist(), means.tolist(), strict=True))
        everywhere[layer] = MassiveChannels(found, threshold)
    starts: dict[int, dict[int, float]] = {}
    for channel in sorted({int(channel) for channel in table["channel"]}):
        layer = _starts(table[table["channel"] == channel])
        starts.setdefault(layer, {})[channel] = everywhere[layer].means[channel]
    first = {layer: MassiveChannels(starts[layer], everywhere[layer].threshold) for layer in sorted(starts)}
    return everywhere, first


def _starts(rows: pd.DataFrame) -> int:
    """The layer where a channel's massive entries first appear."""
    enough = _HALF * rows["sequence"].nunique()
    by_layer = rows.groupby("layer")["sequence"].nunique()
    most = by_layer[by_layer >= enough]
    return int((most if len(most) else by_layer[by_layer == by_layer.max()]).index.astype(int)[0])


def _sinks(run: Run) -> tuple[int, ...]:
    sequences = run.info["data"]["sequences"]
    having = run["sinks"].groupby("position")["sequence"].nunique()
    return tuple(sorted(having[having >= _HALF * sequences].index.astype(int).tolist()))


def _heads(run: Run, sinks: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    table, epsilon = run["heads"], run.info["settings"]["sink_epsilon"]
    table = table[table["position"].isin(sinks) & (table["alpha"] > epsilon)]
    layers = sorted({int(layer) for layer in table["layer"]})
    return {layer: tuple(sorted({int(head) for head in table[table["layer"] == layer]["head"]})) for layer in layers}
