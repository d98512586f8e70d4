"""Massive activations as facts, and the ratios of the residual stream's entries to their medians."""

from typing import Any

import pandas as pd
import pytest

from sinkscope.quantities import curves
from sinkscope.quantities.massive_facts import massive_facts
from sinkscope.quantities.measured import Measured
from sinkscope.quantities.rows import quantity, with_threshold
from sinkscope.tables.columns import TABLES, frame

COLUMNS = [column.name for column in TABLES["massive"].columns]
Row = tuple[Any, ...]


def massive(rows: list[Row]) -> pd.DataFrame:
    return frame("massive", {name: list(cells) for name, cells in zip(COLUMNS, zip(*rows, strict=True), strict=True)})


def at_zero(channel: int, layers: range, sequences: int, value: float = 2e4) -> list[Row]:
    return [(layer, "h_out", n, 0, f"word{n}", channel, value, 9000.0, True) for layer in layers
            for n in range(sequences)]  # fmt: skip


def test_one_channel_at_one_token_is_one_fact_however_many_entries_it_makes() -> None:
    table = massive([*at_zero(507, range(11, 29), 8), (3, "h_out", 1, 7, "x", 5, 12.0, 40.0, False)])
    assert int(table["is_massive"].sum()) == 144
    (fact,) = massive_facts(table, "h_out")
    assert (fact.channels, fact.at_zero, fact.sequences) == ((507,), True, 8)
    assert fact.layers == tuple(range(11, 29))
    assert len(fact.tokens) == 8


def test_channels_that_agree_in_all_of_it_share_a_fact() -> None:
    table = massive([*at_zero(507, range(11, 14), 2), *at_zero(247, range(11, 14), 2, 2000.0),
                     *at_zero(14, range(11, 12), 2, 1000.0)])  # fmt: skip
    assert [(fact.channels, fact.layers) for fact in massive_facts(table, "h_out")] == [
        ((247, 507), (11, 12, 13)), ((14,), (11,)),
    ]  # fmt: skip


def test_later_tokens_are_facts_of_their_own() -> None:
    later = [(layer, "h_out", 0, 5 + layer, ",", 400, 1500.0, 1200.0, True) for layer in range(4)]
    later += [(1, "h_out", 1, 9, "the", 400, 1500.0, 1200.0, True)]
    only = [(2, "h_out", n, 31, " the", 507, 700.0, 1100.0, True) for n in range(2)]
    table = massive([*at_zero(400, range(3), 2), *later, *only])
    zero, many, one = massive_facts(table, "h_out")
    assert zero.at_zero
    assert (many.places, many.position, many.tokens[0], many.sequences) == (5, None, ",", 2)
    assert (one.places, one.position, one.channels) == (2, 31, (507,))
    assert massive_facts(table, "r_mlp") == []


def of(rows: list[Row]) -> Measured:
    return Measured({"massive": massive(rows)}, 0.3)


RATIOS = of([
    (0, "h_out", 0, 0, "a", 3, 500.0, 1000.0, True),
    (0, "h_out", 1, 4, "a", 3, -80.0, 1600.0, False),  # a small entry over a small median: the largest ratio
    (1, "h_out", 0, 0, "a", 3, -900.0, 300.0, False),  # the largest entry
    (1, "h_out", 1, 0, "a", 3, 800.0, 320.0, False),
    (1, "r_mlp", 0, 0, "a", 3, 5000.0, 9999.0, True),
])  # fmt: skip


def test_the_largest_entry_has_the_ratio_that_the_table_gives_it() -> None:
    assert quantity("abs_max_over_median").measured(RATIOS) == 300
    assert curves.abs_max_over_median(RATIOS).to_dict() == {0: 1000, 1: 300}


def test_the_largest_ratio_is_another_quantity_and_the_one_that_tracks_look_at() -> None:
    assert quantity("abs_over_median_max").measured(RATIOS) == 1600
    (row,) = [row for row, threshold in with_threshold() if threshold.phenomenon == "extreme activations"]
    assert row.name == "abs_over_median_max"


def test_massive_entries_are_counted_also_where_they_are_not_listed() -> None:
    rows = at_zero(400, range(2), 1)
    assert quantity("massive_count").measured(of(rows)) == 2
    counts = frame("massive_counts", {"layer": [0, 1, 1], "site": ["h_out", "h_out", "r_mlp"], "sequence": [0, 0, 0],
                                      "entries": [256, 1, 70], "positions": [256, 1, 70],
                                      "channels": [1, 1, 1]})  # fmt: skip
    assert (
        quantity("massive_count").measured(Measured({"massive": massive(rows), "massive_counts": counts}, 0.3)) == 257
    )


@pytest.mark.parametrize(("heads", "expected"), [([3, 1, 0, 2], 2), ([0, 0, 0, 0], None)])
def test_ranks_are_those_of_the_tokens_that_are_sinks(heads: list[int], expected: float | None) -> None:
    norms = frame("sink_norms", {"layer": [0, 1, 2, 2], "sequence": 0, "position": [0, 0, 0, 7], "token": "a",
                                 "heads": heads, "norm": 1.0, "rank": [1, 3, 500, 2], "positions": 512})  # fmt: skip
    assert quantity("sink_norm_rank_median").measured(Measured({"sink_norms": norms}, 0.3)) == expected
    assert quantity("sink_norm_rank_median").measured(Measured({}, 0.3)) is None
