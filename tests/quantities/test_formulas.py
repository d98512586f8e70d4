"""Formulas over layers against the same by hand: measured values, draws, and layers without a value."""

import math

import numpy as np
import pytest
from report.synthetic import Shape, synthetic

from sinkscope.intervals.sample import Resampled, Sample
from sinkscope.quantities import over_layers
from sinkscope.quantities.measured import NEIGHBOURS, Measured, zero_and_neighbours
from sinkscope.quantities.rows import QUANTITIES, quantity
from sinkscope.tables.headline import measured

NAN = float("nan")


class Given:
    """Values by layer as a test gives them."""

    def __init__(self, **values: list[list[float]]) -> None:
        self.values = values

    def by_layer(self, name: str) -> np.ndarray:
        return np.array(self.values[name], dtype=float)


def test_layers_without_a_value_are_left_out() -> None:
    values = Given(x=[[1.0, NAN, 5.0], [2.0, 4.0, 6.0], [NAN, NAN, NAN]])
    np.testing.assert_equal(over_layers.mean("x")(values), [3.0, 4.0, NAN])
    np.testing.assert_equal(over_layers.largest("x")(values), [5.0, 6.0, NAN])
    np.testing.assert_equal(over_layers.quantile("x", 0.25)(values), [2.0, 3.0, NAN])


def test_a_run_without_layers_has_no_values() -> None:
    values = Given(x=[[]])
    for formula in (over_layers.mean("x"), over_layers.largest("x"), over_layers.quantile("x", 0.5)):
        assert np.isnan(formula(values)).tolist() == [True]


def test_ratios_of_means_and_of_layers() -> None:
    values = Given(h_t0=[[8.0, 2.0]], h_early=[[2.0, 3.0]])
    assert over_layers.over_neighbours("h")(values).tolist() == [2.0]
    assert over_layers.largest_over_neighbours("h")(values).tolist() == [4.0]
    np.testing.assert_equal(over_layers.over_neighbours("h")(Given(h_t0=[[0.0]], h_early=[[0.0]])), [NAN])


def test_an_exponential_does_not_overflow() -> None:
    measured_loss, draws = Given(loss=[[2.0]]), Given(loss=[[2.0], [1e4], [NAN]])
    assert over_layers.exponential("loss")(measured_loss).tolist() == [math.exp(2.0)]
    np.testing.assert_allclose(over_layers.exponential("loss")(draws), [math.exp(2.0), math.exp(700.0), NAN])


def test_the_neighbours_of_token_zero_are_the_fixed_window() -> None:
    positions = synthetic(Shape(2, 2, 1))["positions"]
    rows = positions[(positions["site"] == "h_out") & (positions["layer"] == 1)].set_index("position")["norm"]
    norms = zero_and_neighbours(positions, "h_out").loc[1]
    assert NEIGHBOURS == (1, 15)
    assert norms["t0"] == rows[0]
    assert norms["early"] == pytest.approx(np.mean([rows[position] for position in range(1, 16)]))
    assert norms["early_max"] == max(rows[position] for position in range(1, 16))


@pytest.mark.parametrize("row", [row for row in QUANTITIES if row.over_layers is not None], ids=lambda row: row.name)
def test_one_formula_reads_tables_samples_and_draws(row) -> None:
    run = synthetic(Shape(3, 4, 2, sequences=5))
    for values, count in ((measured(run), 1), (Sample(run), 1), (Resampled(run, 30, 0, 0), 30)):
        found = row.over_layers(values)
        assert found.shape == (count,)
        assert np.isfinite(found).all()


def test_headline_numbers_are_their_tables_by_hand() -> None:
    run = synthetic(Shape(4, 4, 2))
    head = run.info["headline"]
    norms = zero_and_neighbours(run["positions"], "r_mlp")
    ratios = run["layers"]["gradient_sink_ratio"]
    assert head["mlp_t0_mean"] == norms["t0"].mean()
    assert head["mlp_t0_max"] == norms["t0"].max()
    assert head["mlp_early_mean"] == norms["early"].mean()
    assert head["mlp_t0_over_early"] == norms["t0"].mean() / norms["early"].mean()
    assert head["mlp_t0_over_early_max"] == (norms["t0"] / norms["early"]).max()
    assert head["sink_rate_mean"] == run["layers"]["sink_rate"].mean()
    assert head["gradient_sink_q25"] == ratios.quantile(0.25)
    assert head["gradient_sink_median"] == ratios.median()
    losses = run["sequences"].query("metric == 'loss'")["value"]
    assert head["loss"] == losses.mean()
    assert head["perplexity"] == math.exp(losses.mean())


def test_a_value_by_layer_that_no_table_has_is_not_measured() -> None:
    run = synthetic(Shape(2, 2, 1))
    assert np.isnan(Measured(run.tables, 0.3).by_layer("unheard of")).tolist() == [[True]]


def test_a_value_per_sequence_is_averaged_by_layer() -> None:
    run = synthetic(Shape(3, 4, 2, sequences=5))
    row = quantity("abs_max_mean")
    assert row.over_layers is not None
    by_hand = run["sequences"].query("metric == 'abs_max'").groupby("layer")["value"].mean().max()
    assert row.over_layers(measured(run))[0] == pytest.approx(by_hand)
    assert row.over_layers(Sample(run))[0] == pytest.approx(by_hand)
