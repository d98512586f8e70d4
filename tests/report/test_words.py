"""What pages say of sinks, massive activations, the depth and the consequences, on tables shaped like real models'."""

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from inspection import words
from synthetic import Shape, synthetic

from sinkscope.methods.probes import parse_probe
from sinkscope.report.analysis import massive
from sinkscope.report.analysis.consequences import METHODS, command, consequences, crushed
from sinkscope.report.analysis.depth_words import depth, shared_channel
from sinkscope.report.analysis.findings import findings
from sinkscope.report.analysis.massive_words import several
from sinkscope.report.text import about, layer_words
from sinkscope.tables.columns import TABLES, frame
from sinkscope.tables.headline import headline
from sinkscope.tables.run_folder import Run

LAYERS, SEQUENCES = 14, 3
BASE = synthetic(Shape(LAYERS, 4, 2, tokens=64, sequences=SEQUENCES, seed=3))
SECOND = {0: (43, " the"), 1: (8, " the"), 2: (31, " ")}


def table(name: str, rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    names = [column.name for column in TABLES[name].columns]
    return frame(name, {column: [row[place] for row in rows] for place, column in enumerate(names)})


def entry(layer: int, site: str, sequence: int, position: int, token: str, channel: int, value: float,
          massive: bool) -> tuple[Any, ...]:  # fmt: skip
    return (layer, site, sequence, position, token, channel, value, abs(value) / (0.5 if massive else 2.0), massive)


def with_tables(**tables: pd.DataFrame) -> Run:
    whole = {**BASE.tables, **tables}
    if "massive" in tables:  # all of it is listed
        found = tables["massive"].query("is_massive").groupby(["layer", "site", "sequence"])
        counts = found.agg(entries=("channel", "size"), positions=("position", "nunique"),
                           channels=("channel", "nunique")).reset_index()  # fmt: skip
        whole["massive_counts"] = frame("massive_counts", {name: counts[name] for name in counts})
    return replace(BASE, tables=whole, info={**BASE.info, "headline": headline(whole, 0.3)})


def like_smollm() -> Run:
    """Token 0 massive in channel 507 from layer 6, in the MLP's output from layer 2; a second sink in layers 3 to 5."""
    first = ("Em", "rad", "shift")
    sinks = [(layer, head, n, 0, first[n], 0.8) for layer in range(3, LAYERS) for head in range(4)
             for n in range(SEQUENCES)]  # fmt: skip
    sinks += [(layer, head, n, *SECOND[n], 0.5) for layer in range(3, 6) for head in range(4) for n in SECOND]
    entries = [entry(layer, "h_out", n, 0, first[n], 507, 25000.0, True) for layer in range(6, 13)
               for n in range(SEQUENCES)]  # fmt: skip
    entries += [entry(6, "h_out", n, 0, first[n], 247, 2000.0, True) for n in range(2)]
    entries += [entry(layer, "r_mlp", n, 0, first[n], 507, 24000.0, True) for layer in (2, 6) for n in range(SEQUENCES)]
    entries += [entry(layer, "h_out", n, *SECOND[n], 507, 600.0 + 100 * n, False) for layer in range(1, 6)
                for n in SECOND]  # fmt: skip
    t0 = [60, 250, 800, 800, 170, 165, *[25000.0] * 7, 6000]
    positions = BASE["positions"].copy()
    residual = positions["site"] == "h_out"
    positions.loc[residual, "norm"] = 100.0
    positions.loc[residual & (positions["position"] == 0), "norm"] = t0
    return with_tables(sinks=table("sinks", sinks), massive=table("massive", entries), positions=positions)


SMOLLM = like_smollm()


def test_token_zero_and_the_second_sinks_are_named_with_layers_and_sequences() -> None:
    sentence = findings(SMOLLM)[0]
    assert "Token 0 (whichever of 3 tokens it is) is an attention sink" in sentence
    assert 'in 3 of 3 sequences a later token is a second sink, in layers 3 to 5: " the" in 2 and " " in 1.' in sentence


def test_massive_activations_are_channels_tokens_layers_and_sequences() -> None:
    sentence = findings(SMOLLM)[1]
    assert "channel 507 at token 0 in layers 6 to 12, in 3 of 3 sequences" in sentence
    assert "channel 247 at token 0 in layer 6, in 2 of 3 sequences" in sentence
    assert "the MLP output has some, from layer 2 on: channel 507 at token 0 in layers 2 and 6" in sentence
    assert "entries" not in sentence


def test_phases_and_the_channel_that_second_sinks_share() -> None:
    assert depth(SMOLLM) == (
        "Over the depth the norm of token 0 is about 800 (8.0 times that of positions 1 to 15) in layers 2 and 3, "
        "ordinary again (1.7 times) in layers 4 and 5, about 25,000 (250 times) in layers 6 to 12 and about 6,000 "
        "(60 times) in layer 13; second sinks carry 600 to 800 in the same channel 507, in layers 1 to 5."
    )
    shared = shared_channel(SMOLLM)
    assert shared is not None
    assert (shared.channel, shared.massive, shared.layers) == (507, True, (1, 2, 3, 4, 5))


def test_one_definition_of_the_largest_entrys_ratio_in_words_table_and_headline() -> None:
    largest = SMOLLM["massive"].query("site == 'h_out'").sort_values("value").iloc[-1]
    assert SMOLLM.info["headline"]["abs_max_over_median"] == largest["ratio_to_median"]
    assert "50,000 times the median of its sequence and layer" in findings(SMOLLM)[1]


def like_gemma(per_sequence: int) -> Run:
    """A channel that is massive at token 0 and at very many later tokens; another at token 0 alone."""
    rows = [entry(layer, "h_out", n, 0, "<bos>", 163, 90000.0, True) for layer in range(3, 9) for n in range(SEQUENCES)]
    rows += [entry(layer, "h_out", n, 0, "<bos>", 400, 8000.0, True) for layer in range(4) for n in range(SEQUENCES)]
    rows += [entry(layer, "h_out", n, 1 + s, ",", 400, 1500.0, True) for layer in range(2) for n in range(SEQUENCES)
             for s in range(per_sequence)]  # fmt: skip
    return with_tables(massive=table("massive", rows), sinks=BASE["sinks"][BASE["sinks"]["position"] == 0])


def test_a_channel_that_is_massive_at_most_tokens_is_said_so() -> None:
    assert several(like_gemma(20), "h_out") == (
        "channel 163 at token 0 in layers 3 to 8; channel 400 at token 0 in layers 0 to 3; channel 400 at 60 later "
        'tokens (",") in layers 0 and 1, each in 3 of 3 sequences'
    )
    assert "no other position holds a sink in any sequence" in findings(like_gemma(20))[0]


def test_a_list_that_was_cut_gives_a_lower_bound() -> None:
    assert "channel 400 at 93 or more later tokens" in several(like_gemma(31), "h_out")


def test_channels_of_which_no_entry_is_listed_are_not_passed_over() -> None:
    run = like_gemma(31)
    counts = [(layer, "h_out", n, entries, 31, channels) for layer, entries, channels in ((0, 32, 1), (1, 90, 4))
              for n in range(SEQUENCES)]  # fmt: skip
    whole = {**run.tables, "massive_counts": table("massive_counts", counts)}
    assert several(replace(run, tables=whole), "h_out").endswith("; and channels that are not listed")
    page = words(massive.ENTRY.draw(replace(run, tables=whole)))
    assert f"{SEQUENCES * 122} entries pass the binary test" in page
    assert "In h_out further channels are massive, too small to be among the listed." in page
    assert "93+ later" in page


def test_scattered_sinks_are_no_second_sink() -> None:
    rows = [(layer, head, 0, 0, "a", 0.9) for layer in range(LAYERS) for head in range(4)]
    rows += [(2, 0, n, 9 + n, ",", 0.4) for n in range(SEQUENCES)]
    sentence = findings(with_tables(sinks=table("sinks", rows)))[0]
    assert 'of 59 sinks counted sequence by sequence 5.1 % stand at later tokens, most at ","' in sentence
    assert "but in no sequence has one of these tokens sinks in 5 % of the heads" in sentence


def test_without_sinks_and_massive_activations() -> None:
    run = synthetic(Shape(3, 4, 2, sinks=False, massive=False))
    assert depth(run) == "Over the depth the norm of token 0 stays near that of positions 1 to 15."
    said = dict(consequences(run))
    assert said["Tokens"] == "none is a sink."
    assert said["Channels"].startswith("no massive activation; the largest entry, ")


def test_consequences_name_tokens_channels_the_risk_and_the_command() -> None:
    said = dict(consequences(SMOLLM))
    assert said["Tokens"] == (
        "token 0 in layers 3 to 13 (79 % of the heads) and second sinks in layers 3 to 5 "
        '(" the" in 2 and " " in 1 sequence).'
    )
    assert said["Channels"] == "channels 247 and 507 of the residual stream in layers 6 to 12: massive activations."
    assert said["Measure it"].startswith("sinkscope quantize example/model-1B --methods w8a8-static,w8a8-dynamic,")
    assert all(parse_probe(name) is not None for name in METHODS.split(","))


@pytest.mark.parametrize(("median", "count"), [(0.49, 1), (0.51, 0)])
def test_a_static_scale_is_a_risk_where_the_median_is_below_half_a_step(median: float, count: int) -> None:
    sites = BASE["sites"].assign(abs_max=12.7, abs_median=1.0)
    worst = (sites["site"] == "down_in") & (sites["layer"] == 4)
    sites.loc[worst, ["abs_max", "abs_median"]] = 127.0, median
    run = with_tables(sites=sites)
    assert len(crushed(run)) == count
    said = dict(consequences(run))["At risk"]
    assert "the input of the down projection (down_in) of layer 4: a step 1.00 wide, set by 127" in said
    assert (f"at {count} of 56 inputs" in said) == bool(count)
    assert said.startswith("nowhere") == (not count)


def test_a_name_with_blanks_is_quoted_for_the_shell() -> None:
    info = {**BASE.info, "model": {**BASE.info["model"], "name": "my models/a"}}
    assert "quantize 'my models/a' --methods" in command(replace(BASE, info=info))


def test_layers_and_rounded_numbers_in_words() -> None:
    assert layer_words([7]) == "layer 7"
    assert layer_words([4, 3]) == "layers 3 and 4"
    assert layer_words([2, 11, 28]) == "layers 2, 11 and 28"
    assert layer_words([*range(3, 9), 12]) == "layers 3 to 8 and 12"
    assert layer_words(range(0, 20, 2)) == "10 layers from 0 to 18"
    assert [about(value) for value in (24951.0, 813.0, 58.4, 1.26, 0.0)] == ["25,000", "810", "58", "1.3", "0"]
