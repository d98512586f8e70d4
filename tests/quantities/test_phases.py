"""Phases of the norm of token 0, on tables as models make them."""

import numpy as np
import pandas as pd
import pytest

from sinkscope.quantities.phases import Phase, phases


def norms(t0: list[float], early: list[float] | float = 100.0) -> pd.DataFrame:
    return pd.DataFrame({"t0": t0, "early": early}, index=range(len(t0)))


def spans(found: list[Phase]) -> list[tuple[int, int, bool]]:
    return [(phase.first, phase.last, phase.large) for phase in found]


def test_a_massive_norm_that_is_written_erased_and_written_again() -> None:
    t0 = [58, 270, 860, 850, 830, 810, 790, 200, 170, 25000, 25000, 24900, 24800, 11000, 6100]
    early = [44, 70, 100, 106, 111, 115, 122, 144, 143, 141, 150, 180, 250, 520, 840]
    found = phases(norms(t0, early))
    assert spans(found) == [
        (0, 0, False), (2, 6, True), (7, 8, False), (9, 12, True), (14, 14, True),
    ]  # fmt: skip
    assert [phase.norm for phase in found] == [58, 830, 185, 24950, 6100]
    assert found[1].ratio == pytest.approx(830 / 111)


def test_a_drift_is_one_phase_however_far_it_goes() -> None:
    t0 = [300.0 * 1.5**layer for layer in range(12)]
    assert spans(phases(norms(t0))) == [(0, 11, True)]


def test_layers_on_the_way_up_or_down_belong_to_none() -> None:
    t0 = [100, 100, 250, 700, 2000, 2000, 700, 110, 100]
    assert spans(phases(norms(t0))) == [(0, 1, False), (4, 5, True), (7, 8, False)]


def test_a_single_layer_that_stands_out_is_a_phase() -> None:
    assert spans(phases(norms([100, 100, 900, 100, 100]))) == [(0, 1, False), (2, 2, True), (3, 4, False)]


def test_exactly_twice_is_no_jump() -> None:
    assert len(phases(norms([100, 200]))) == 1
    assert len(phases(norms([100, 201]))) == 2


def test_no_sink_one_layer_and_nothing_measured() -> None:
    assert spans(phases(norms([100, 110, 90]))) == [(0, 2, False)]
    assert spans(phases(norms([5000]))) == [(0, 0, True)]
    assert phases(norms([np.nan, 0.0])) == []
    assert phases(norms([100.0, 100.0], np.nan)) == []  # a single token has no neighbours
