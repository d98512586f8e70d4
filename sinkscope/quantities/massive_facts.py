"""Massive activations as facts: which channels, at which tokens, in which layers, in how many sequences.

One channel at one token that every layer passes on, in every sequence, is a single fact, however many entries of
equation (5) it makes. Channels that agree in all of it share a fact.
"""

from dataclasses import dataclass

import pandas as pd

LISTED = 32  # largest entries of a sequence, layer and site among which the massive ones are listed


@dataclass(frozen=True)
class MassiveFact:
    """Channels that hold massive activations at the same kind of token, in the same layers.

    Attributes:
        site: the vector that they are channels of.
        channels: ascending.
        at_zero: at position 0; otherwise at later positions.
        places: different pairs of a sequence and a position.
        position: the position, where all places have the same; else None.
        tokens: the different tokens that stand there, the most frequent first.
        layers: ascending.
        sequences: in how many sequences.
        largest: largest |x|.
    """

    site: str
    channels: tuple[int, ...]
    at_zero: bool
    places: int
    position: int | None
    tokens: tuple[str, ...]
    layers: tuple[int, ...]
    sequences: int
    largest: float


def massive_facts(massive: pd.DataFrame, site: str) -> list[MassiveFact]:
    """The facts of a site, those at position 0 first, then by size.

    Args:
        massive: the table of that name.
        site: `h_out`, `r_attn`, `r_mlp` or `down_in`.
    """
    rows = massive[massive["is_massive"] & (massive["site"] == site)]
    rows = rows.assign(size=rows["value"].abs(), at_zero=rows["position"] == 0)
    alike: dict[tuple[object, ...], list[int]] = {}
    for (_, at_zero), group in rows.groupby(["channel", "at_zero"]):
        places = frozenset(zip(group["sequence"], group["position"], strict=True))
        key = bool(at_zero), tuple(sorted(group["layer"].unique())), places
        alike.setdefault(key, []).append(int(group["channel"].iloc[0]))
    facts = [
        _fact(site, channels, rows[rows["channel"].isin(channels) & (rows["at_zero"] == key[0])])
        for key, channels in alike.items()
    ]
    return sorted(facts, key=lambda fact: (not fact.at_zero, -fact.largest))


def _fact(site: str, channels: list[int], rows: pd.DataFrame) -> MassiveFact:
    places = rows[["sequence", "position", "token"]].drop_duplicates()
    positions = places["position"].unique()
    return MassiveFact(
        site,
        tuple(sorted(channels)),
        bool(rows["at_zero"].iloc[0]),
        len(places),
        int(positions[0]) if len(positions) == 1 else None,
        tuple(str(token) for token in places["token"].value_counts(sort=True).index),
        tuple(int(layer) for layer in sorted(rows["layer"].unique())),
        int(rows["sequence"].nunique()),
        float(rows["size"].max()),
    )
