"""Sinks by token, and the second sink of a sequence."""

import pandas as pd

from sinkscope.quantities.sink_groups import second_sinks, sink_groups
from sinkscope.tables.columns import frame

HEADS = 20  # of all layers
NONE = frame("sinks", {name: [] for name in ("layer", "head", "sequence", "position", "token", "alpha")})


def sinks(*places: tuple[int, int, str, int, int]) -> pd.DataFrame:
    """Of each place sequence, position, token, first layer and number of layers, two heads per layer."""
    cells = [
        (layer, head, sequence, position, token, 0.5)
        for sequence, position, token, first, count in places
        for layer in range(first, first + count)
        for head in (0, 1)
    ]
    return frame("sinks", dict(zip(NONE.columns, map(list, zip(*cells, strict=True)), strict=True)))


TABLE = sinks(
    (0, 0, "Em", 1, 9), (1, 0, "rad", 1, 9), (2, 0, "Em", 1, 9),
    (0, 43, " the", 3, 4), (1, 8, " the", 3, 3), (2, 5, " ", 3, 2), (2, 90, " the", 3, 1),
)  # fmt: skip


def test_position_zero_comes_first_whatever_token_stands_there() -> None:
    zero, the, blank = sink_groups(TABLE, HEADS)
    assert (zero.at_zero, zero.token, zero.tokens, zero.sequences, zero.sinks) == (True, "Em", 2, 3, 54)
    assert zero.share == 18 / HEADS
    assert (the.token, the.sequences, the.places, the.positions) == (" the", 3, 3, (8, 43, 90))
    assert the.layers == (3, 4, 5, 6)
    assert (blank.token, blank.sinks, blank.share) == (" ", 4, 4 / HEADS)


def test_a_second_sink_is_the_later_position_of_its_sequence_with_most_sinks() -> None:
    rows = second_sinks(TABLE, HEADS)
    assert rows.groupby("sequence")["position"].unique().map(list).to_dict() == {0: [43], 1: [8], 2: [5]}
    assert len(rows) == 18


def test_single_heads_make_no_second_sink() -> None:
    rows = second_sinks(TABLE, 100)  # 2 of 100 heads look at position 90, 4 at position 5, 6 and 8 at the others
    assert sorted(rows["sequence"].unique()) == [0, 1]


def test_no_sink_and_none_at_token_zero() -> None:
    assert sink_groups(NONE, HEADS) == []
    assert second_sinks(NONE, HEADS).empty
    elsewhere = sinks((0, 3, "x", 0, 5))
    assert [group.at_zero for group in sink_groups(elsewhere, HEADS)] == [False]
    assert set(second_sinks(elsewhere, HEADS)["position"]) == {3}
