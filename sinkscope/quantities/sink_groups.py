"""Sinks by the token they stand at: token 0, and the second sink that a sequence may have at a later token.

The table `sinks` has a row per layer, head and sequence. What a reader asks is which tokens these are: the same later
position is one sink, whether one head or forty look at it, and the same word in six of eight sequences is one finding.
"""

from dataclasses import dataclass
from weakref import ref

import pandas as pd

SECOND = 0.05  # a choice: share of all heads that must have a sink at a later position for it to be a second sink


@dataclass(frozen=True)
class SinkGroup:
    """Sinks at one token.

    Attributes:
        token: the token; for position 0 the most frequent.
        tokens: different tokens that stand there.
        at_zero: at position 0; otherwise at later positions.
        places: different pairs of a sequence and a position.
        positions: the different positions, ascending.
        sequences: in how many sequences.
        layers: the layers in which some head has such a sink, ascending.
        sinks: over layers, heads and sequences.
        share: heads with such a sink, of all heads, mean over these sequences.
    """

    token: str
    tokens: int
    at_zero: bool
    places: int
    positions: tuple[int, ...]
    sequences: int
    layers: tuple[int, ...]
    sinks: int
    share: float


_latest: "tuple[ref[pd.DataFrame], int, list[SinkGroup]] | None" = None  # a report asks for the same ones many times


def sink_groups(sinks: pd.DataFrame, heads: int) -> list[SinkGroup]:
    """All sinks by token: position 0 first, then the tokens at later positions, most sinks first.

    Args:
        sinks: the table of that name.
        heads: query heads of all layers.
    """
    global _latest
    if _latest is not None and _latest[0]() is sinks and _latest[1] == heads:
        return _latest[2]
    first, later = sinks[sinks["position"] == 0], sinks[sinks["position"] > 0]
    groups = [_group(rows, heads) for _, rows in later.groupby("token")]
    groups.sort(key=lambda group: (-group.sinks, group.token))
    groups = ([_group(first, heads)] if len(first) else []) + groups
    _latest = (ref(sinks), heads, groups)
    return groups


def second_sinks(sinks: pd.DataFrame, heads: int) -> pd.DataFrame:
    """The rows of `sinks` at the later position of each sequence where most heads have a sink.

    Sequences in which fewer than `SECOND` of all heads have one there have no second sink.

    Args:
        sinks: the table of that name.
        heads: query heads of all layers.
    """
    later = sinks[sinks["position"] > 0]
    counts = later.groupby(["sequence", "position"]).size().rename("sinks").reset_index()
    counts = counts[counts["sinks"] >= SECOND * heads]
    counts = counts.sort_values(["sinks", "position"], ascending=[False, True], kind="stable")
    return later.merge(counts.drop_duplicates("sequence")[["sequence", "position"]], on=["sequence", "position"])


def _group(rows: pd.DataFrame, heads: int) -> SinkGroup:
    counts = rows["token"].value_counts()
    sequences = int(rows["sequence"].nunique())
    return SinkGroup(
        str(counts.index[0]),
        len(counts),
        bool(rows["position"].iloc[0] == 0),
        len(rows[["sequence", "position"]].drop_duplicates()),
        tuple(int(position) for position in sorted(rows["position"].unique())),
        sequences,
        tuple(int(layer) for layer in sorted(rows["layer"].unique())),
        len(rows),
        len(rows[["layer", "head", "sequence"]].drop_duplicates()) / (heads * sequences),
    )
