"""What is declared of the quantities is consistent, and holds for what analyses measure."""

import re
from dataclasses import replace

import pytest
from report.synthetic import Shape, synthetic

from sinkscope.quantities import rows
from sinkscope.quantities.quantity import Quantity
from sinkscope.report.published import PUBLIC, TRAINED
from sinkscope.report.tracking.evolution import PANELS
from sinkscope.report.tracking.sentences import PROGRESS

NAMES = [row.name for row in rows.QUANTITIES]
WHOLE = Shape(3, 4, 2, vscale=True, experts=4, learned_sinks=True, images=True)


def test_names_are_told_apart() -> None:
    assert len(set(NAMES)) == len(NAMES)
    titles = [row.title for row in rows.QUANTITIES]
    assert len(set(titles)) == len(titles)
    shorts = [row.short for row in rows.QUANTITIES if row.short]
    assert len(set(shorts)) == len(shorts)


@pytest.mark.parametrize("row", rows.QUANTITIES, ids=NAMES)
def test_a_title_gives_the_equation_of_its_row(row: Quantity) -> None:
    for numbers in re.findall(r"\((\d+)\)", row.title):
        assert numbers in row.equation.split(", ")


def test_what_stands_on_the_first_page_is_compared_and_has_a_short_name() -> None:
    assert all(row.compared is not None and row.short for row in rows.QUANTITIES if row.front_page)
    assert [row.name for row in rows.compared() if row.front_page]


def test_lists_are_in_their_places() -> None:
    assert [row.name for row in rows.compared()][:6] == [
        "loss", "perplexity", "sink_rate_mean", "sink_rate_max", "gradient_sink_median", "gradient_sink_q25",
    ]  # fmt: skip
    assert [row.name for row in rows.monitored()][-4:] == [
        "residual_t0_over_early", "theta_mean", "theta_min", "theta_max",
    ]  # fmt: skip
    assert [threshold.phenomenon for _, threshold in rows.with_threshold()] == [
        "attention sink", "gradient sink", "large residual norm", "extreme activations", "massive activations",
    ]  # fmt: skip


def test_everything_is_measured_on_a_run_that_has_everything() -> None:
    head = synthetic(WHOLE).info["headline"]
    assert list(head) == [name for row in rows.in_headline() for name in rows.headline_names(row)]
    assert [name for name, value in head.items() if value is None] == []


def test_without_gradients_exactly_theirs_are_missing() -> None:
    head = synthetic(replace(WHOLE, backward=False)).info["headline"]
    counts = {"bounds_checked", "bound_violations"}  # none is checked, and that is a number
    missing = {name for name, value in head.items() if value is None}
    assert missing == {name for row in rows.in_headline() if row.backward for name in rows.headline_names(row)} - counts
    assert [head[name] for name in sorted(counts)] == [0, 0]


def test_pages_and_the_literature_name_quantities_that_exist() -> None:
    named = {name for model in TRAINED.values() for name in model} | {value.metric for value in PUBLIC}
    named |= set(PROGRESS) | {name for panel in PANELS for name, _, _ in panel.curves}
    assert named <= set(NAMES)


def test_a_row_has_one_formula() -> None:
    with pytest.raises(ValueError, match="one formula"):
        Quantity("empty", "Nothing")
    with pytest.raises(ValueError, match="one formula"):
        Quantity("twice", "Twice", over_layers=lambda values: values.by_layer("loss")[:, 0], over_tables=len)


def test_a_choice_of_threshold_is_named() -> None:
    assert rows.large("residual_t0_over_early") == 2
    with pytest.raises(ValueError, match="alpha_max has no threshold of its own"):
        rows.large("alpha_max")
