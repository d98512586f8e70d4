"""The page of the whole chain: one axis of layers, phases shaded, and titles that say what is there."""

from dataclasses import replace

import numpy as np
import pytest
from inspection import words
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from synthetic import Shape, synthetic
from test_words import SMOLLM

from sinkscope.report.analysis import chain, chain_panels, sink_rate
from sinkscope.report.analysis.depth_words import phases_of
from sinkscope.tables.run_folder import Run

NEW = ("sink_norms", "massive_counts")


def titles(run: Run) -> list[str]:
    return [axes.get_title(loc="left") for axes in chain.ENTRY.draw(run).axes]


def older(run: Run) -> Run:
    """The run as an earlier version measured it."""
    head = {name: value for name, value in run.info["headline"].items()
            if name not in ("sink_norm_rank_median", "abs_over_median_max")}  # fmt: skip
    tables = {name: table for name, table in run.tables.items() if name not in NEW}
    return replace(run, tables=tables, info={**run.info, "headline": head})


def test_titles_say_the_answer() -> None:
    assert titles(SMOLLM) == [
        'Token 0 is a sink in layers 3 to 13, a later " the" or " " in layers 3 to 5',
        "Token 0 carries about 25,000 in layers 6 to 12, 250 times its neighbours",
        f"Gradients gather at token 0: {SMOLLM.info['headline']['gradient_sink_median']:.1f} times the early mean, "
        "median over layers",
        "Channels 247 and 507: massive, up to 25,000; second sinks carry 800 in 507",
        titles(SMOLLM)[4],
    ]
    assert titles(SMOLLM)[4].startswith("Values of token 0 are")


def test_panels_share_the_axis_of_layers_and_the_shading() -> None:
    drawn = chain.ENTRY.draw(SMOLLM).axes
    assert {axes.get_xlim() for axes in drawn} == {(-0.5, 13.5)}
    large = [(phase.first - 0.5, phase.last + 0.5) for phase in phases_of(SMOLLM) if phase.large]
    for axes in drawn:
        boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
        assert [(box.get_x(), box.get_x() + box.get_width()) for box in boxes] == large


def test_a_panel_draws_onto_any_axes() -> None:
    axes = Figure().subplots()
    chain_panels.token_norm(axes, SMOLLM)
    token_zero = next(line for line in axes.lines if line.get_label() == "token 0")
    np.testing.assert_array_equal(token_zero.get_ydata()[6:13], 25000.0)


def test_tokens_channels_and_phases_stand_beside_the_panels() -> None:
    said = words(chain.ENTRY.draw(SMOLLM))
    assert 'later " the" 2 of 3 3 to 5' in said
    assert "0: 3 tokens 3 of 3 3 to 13" in said
    assert "507 token 0 25,000 6 to 12" in said
    assert "507 second 800 1 to 5" in said
    assert "4 to 5 170 1.7 x early" in said


@pytest.mark.parametrize(
    "run",
    [
        synthetic(Shape(3, 4, 2, sinks=False, massive=False)),
        synthetic(Shape(1, 1, 1, tokens=2, sequences=1)),
        older(SMOLLM),
        replace(SMOLLM, tables={**SMOLLM.tables, "sinks": SMOLLM["sinks"][SMOLLM["sinks"]["position"] > 0]}),
    ],
    ids=["no sink", "one layer of two tokens", "measured before", "sinks at later tokens alone"],
)
def test_runs_of_every_kind_are_drawn(run: Run) -> None:
    assert len(titles(run)) == 5
    assert "R_GS" in chain.ENTRY.draw(run).axes[2].get_ylabel()
    assert sink_rate.ENTRY.draw(run).axes


def test_a_sink_that_is_not_at_token_zero_is_named() -> None:
    later = SMOLLM["sinks"][SMOLLM["sinks"]["position"] > 0]
    run = replace(SMOLLM, tables={**SMOLLM.tables, "sinks": later})
    assert titles(run)[0] == 'Token 0 is no sink, a later " the" or " " in layers 3 to 5'


def test_without_gradients_their_panel_is_left_out() -> None:
    assert not any("Gradients" in title for title in titles(synthetic(Shape(6, 4, 2, backward=False))))


def test_ranks_of_sink_tokens_take_the_place_of_the_correlation() -> None:
    norms = SMOLLM["sink_norms"]
    wrong = (norms["position"] == 0) & (norms["layer"] == 0)
    changed = norms.assign(heads=1, rank=norms["rank"].mask(wrong, 5))
    run = replace(SMOLLM, tables={**SMOLLM.tables, "sink_norms": changed})
    ranks = sink_rate.ENTRY.draw(run).axes[2]
    assert ranks.get_title() == "Token 0 has the largest norm in 93 % of the layers and sequences where it is a sink"
    assert ranks.lines[0].get_ydata()[0] == 5
    assert "ordinary ones in the main" in sink_rate.ENTRY.draw(older(SMOLLM)).axes[2].get_title()
