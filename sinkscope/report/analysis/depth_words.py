"""What is said of token 0 over the depth, and of the channels that second sinks share with it."""

from dataclasses import dataclass

import pandas as pd

from sinkscope.quantities.measured import zero_and_neighbours
from sinkscope.quantities.phases import Phase, phases
from sinkscope.report.analysis.sink_words import second
from sinkscope.report.text import about, layer_words, listed, number
from sinkscope.tables.run_folder import Run


@dataclass(frozen=True)
class SharedChannel:
    """The channel in which the second sinks have their largest entries.

    Attributes:
        channel: its number.
        smallest: over sequences, the smallest of their largest |x|.
        largest: and the largest.
        layers: in which the entry is among the largest of its layer and sequence.
        massive: whether token 0 has a massive activation in it, in the residual stream or a branch's output.
    """

    channel: int
    smallest: float
    largest: float
    layers: tuple[int, ...]
    massive: bool


def phases_of(run: Run) -> list[Phase]:
    """The phases of a run's residual norm at token 0."""
    return phases(zero_and_neighbours(run["positions"], "h_out"))


def depth(run: Run) -> str:
    """The phases in a sentence, and what second sinks carry."""
    carried = shared_channel(run)
    beside = f"; {_carries(carried)}" if carried is not None else ""
    known = phases_of(run)
    while known and not known[0].large:
        known = known[1:]
    if not known:
        return f"Over the depth the norm of token 0 stays near that of positions 1 to 15{beside}."
    words = [_phase(phase, first=not number) for number, phase in enumerate(known)]
    return f"Over the depth the norm of token 0 is {listed(words)}{beside}."


def second_entries(run: Run) -> pd.DataFrame:
    """The listed entries of the residual stream at second sinks, with their size |x|."""
    entries = run["massive"]
    places = second(run)[["sequence", "position"]].drop_duplicates()
    entries = entries[entries["site"] == "h_out"].merge(places, on=["sequence", "position"])
    return entries.assign(size=entries["value"].abs())


def shared_channel(run: Run) -> SharedChannel | None:
    """The channel in which most second sinks have their largest entry; None where none is among the listed ones."""
    entries = second_entries(run)
    if entries.empty:
        return None
    of_sequences = entries.sort_values("size").drop_duplicates("sequence", keep="last")
    channel = int(of_sequences["channel"].mode().iloc[0])
    rows = entries[entries["channel"] == channel]
    largest = rows.groupby("sequence")["size"].max()
    massive = run["massive"]
    at_zero = massive[massive["is_massive"] & (massive["position"] == 0) & massive["site"].isin(("h_out", "r_mlp"))]
    return SharedChannel(
        channel,
        float(largest.min()),
        float(largest.max()),
        tuple(int(layer) for layer in sorted(rows["layer"].unique())),
        bool((at_zero["channel"] == channel).any()),
    )


def _phase(phase: Phase, *, first: bool) -> str:
    layers = layer_words(range(phase.first, phase.last + 1))
    times = f"{number(phase.ratio, 2)} times{' that of positions 1 to 15' if first else ''}"
    return (
        f"about {about(phase.norm)} ({times}) in {layers}" if phase.large else f"ordinary again ({times}) in {layers}"
    )


def _carries(carried: SharedChannel) -> str:
    sizes = [number(round(size)) for size in (carried.smallest, carried.largest)]
    size = sizes[0] if sizes[0] == sizes[1] else f"{sizes[0]} to {sizes[1]}"
    same = "the same channel" if carried.massive else "channel"
    return f"second sinks carry {size} in {same} {carried.channel}, in {layer_words(carried.layers)}"
