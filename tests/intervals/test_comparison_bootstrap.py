"""Bootstrap draws agree with the slow way: pick sequences, repeat them, measure again."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from reference.models import tiny, tokens
from report.synthetic import Shape, synthetic

import sinkscope
from sinkscope.intervals.draws import draws
from sinkscope.intervals.gradient_sink_blocks import block_products, excess, ratios, squared_norms
from sinkscope.intervals.sample import Resampled, Sample
from sinkscope.quantities.rows import compared
from sinkscope.tables.columns import frame
from sinkscope.tables.headline import measured
from sinkscope.tables.run_folder import Run

RUN = synthetic(Shape(3, 4, 2, sequences=7))
FORWARD = synthetic(Shape(3, 4, 2, sequences=7, backward=False))


def picked(multiplicities: np.ndarray) -> list[int]:
    """The sequence numbers of a draw."""
    return [number for number, times in enumerate(multiplicities) for _ in range(int(times))]


def resampled_by_hand(run: Run, numbers: list[int]) -> Run:
    """The run with its per-sequence values repeated as drawn, and nothing that needs gradients."""
    table = run["sequences"]
    parts = [table[table["sequence"] == number].assign(sequence=new) for new, number in enumerate(numbers)]
    empty = frame("gradient_blocks", {name: [] for name in run["gradient_blocks"].columns})
    return Run(run.info, {**run.tables, "sequences": pd.concat(parts), "gradient_blocks": empty})


def gradients(blocks: int, positions: int, width: int = 5, seed: int = 0) -> np.ndarray:
    """Made-up block gradients [position, block, width] with a sink at position 0."""
    made = np.random.default_rng(seed).normal(0.1, 1, (positions, blocks, width))
    made[0] += 1.5
    return made


def test_draws_are_reproducible_whole_and_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(draws(9, 50, 3, 1)))
    assert whole.shape == (50, 9)
    assert (whole.sum(1) == 9).all()
    monkeypatch.setattr("sinkscope.intervals.draws._CELLS", 4 * 9)
    chunks = list(draws(9, 50, 3, 1))
    assert max(len(chunk) for chunk in chunks) == 4
    assert (np.concatenate(chunks) == whole).all()
    assert (np.concatenate(list(draws(9, 50, 3, 2))) != whole).any()
    assert (np.concatenate(list(draws(9, 50, 4, 1))) != whole).any()


def test_every_averaged_metric_is_that_of_the_repeated_sequences() -> None:
    count = 20
    resampled = Resampled(RUN, count, 5, 0)
    weights = np.concatenate(list(draws(7, count, 5, 0, 0)))
    checked = [metric for metric in compared() if metric.over_layers is not None and not metric.backward]
    for metric in checked:
        slow = [metric.over_layers(Sample(resampled_by_hand(RUN, picked(row))))[0] for row in weights]
        np.testing.assert_allclose(metric.over_layers(resampled), slow, rtol=1e-12, err_msg=metric.name)
    assert len(checked) > 15


def test_losses_are_weighed_with_the_targets_of_their_sequences() -> None:
    targets = np.array([20, 30, 0, 39, 5, 39, 11])
    table = RUN["sequences"]
    counts = table[table["metric"] == "loss"].assign(metric="targets", value=targets.astype(float))
    table = table.assign(value=table["value"].mask((table["metric"] == "loss") & (table["sequence"] == 2)))
    run = Run(RUN.info, {**RUN.tables, "sequences": pd.concat([table, counts], ignore_index=True)})
    losses = table[table["metric"] == "loss"]["value"].fillna(0).to_numpy()
    mean = (losses * targets).sum() / targets.sum()
    for values in (measured(run), Sample(run)):
        assert values.by_layer("loss").tolist() == [[pytest.approx(mean, rel=1e-12)]]
    weights = np.concatenate(list(draws(7, 20, 5, 0, 0)))
    by_hand = (weights @ (losses * targets)) / (weights @ targets)
    np.testing.assert_allclose(Resampled(run, 20, 5, 0).by_layer("loss")[:, 0], by_hand, rtol=1e-12)


def test_measured_values_are_the_headline() -> None:
    analysis = sinkscope.analyze(tiny("llama_gqa"), input_ids=tokens(4, 24))
    sample = Sample(analysis.run)
    averaged = [row for row in compared() if row.over_layers is not None and row.headline]
    for metric in averaged:
        assert metric.over_layers(sample)[0] == pytest.approx(analysis.headline[metric.name], rel=1e-5), metric.name
    assert len(averaged) > 18


def test_a_draw_is_what_measuring_the_repeated_sequences_gives() -> None:
    """From the model itself: repeat the windows that a draw holds, analyze again, compare with the draw."""
    model, ids = tiny("llama_gqa"), tokens(4, 24)
    run = sinkscope.analyze(model, input_ids=ids).run
    layers = len(run["layers"])
    products = block_products(run["gradient_blocks"], layers)
    weights = np.array([[2.0, 0.0, 1.0, 1.0]])
    again = sinkscope.analyze(model, input_ids=ids[picked(weights[0])])
    by_hand = Sample(resampled_by_hand(run, picked(weights[0])))
    for metric in compared():
        if metric.over_layers is not None and not metric.backward and metric.name in again.headline:
            assert metric.over_layers(by_hand)[0] == pytest.approx(again.headline[metric.name], rel=1e-5), metric.name
    norms = [np.sqrt(squared_norms(layer, weights))[0] for layer in products]
    ratio = [norm[0] / norm[1:].mean() for norm in norms]
    np.testing.assert_allclose(ratio, again.layers["gradient_sink_ratio"], rtol=1e-3)


def test_norms_of_resampled_gradients_are_exact() -> None:
    vectors = gradients(6, 4)
    weights = np.concatenate(list(draws(6, 30, 0)))
    found = squared_norms(vectors @ vectors.transpose(0, 2, 1), weights)
    for row, multiplicities in zip(found, weights, strict=True):
        slow = [np.sum([vectors[p, k] for k in picked(multiplicities)], axis=0) for p in range(4)]
        np.testing.assert_allclose(row, [vector @ vector for vector in slow], rtol=1e-10)


def test_excess_is_the_mean_over_all_possible_draws() -> None:
    vectors = gradients(3, 4)
    products = vectors @ vectors.transpose(0, 2, 1)
    every = [np.sum([vectors[:, k] for k in numbers], axis=0) for numbers in product(range(3), repeat=3)]
    mean = np.mean([(sums**2).sum(1) for sums in every], axis=0)
    np.testing.assert_allclose(excess(products), mean / (vectors.sum(1) ** 2).sum(1), rtol=1e-12)
    assert excess(np.zeros((2, 3, 3))).tolist() == [1, 1]


def test_measured_ratio_comes_from_the_blocks() -> None:
    vectors = gradients(5, 8)
    found = ratios((vectors @ vectors.transpose(0, 2, 1))[None])
    norms = np.linalg.norm(vectors.sum(1), axis=1)
    assert found.shape == (1, 1)
    assert found[0, 0] == pytest.approx(norms[0] / norms[1:].mean())


def test_intervals_of_the_ratio_cover_what_other_texts_give() -> None:
    """The expected ratio of fresh data lies in 95 % intervals about as often as it should; uncorrected ones miss it."""

    def products(seed: int) -> np.ndarray:
        vectors = gradients(32, 8, 20, seed)
        return vectors @ vectors.transpose(0, 2, 1)

    truth = np.median([ratios(products(seed)[None])[0, 0] for seed in range(1000, 2000)])
    weights = np.concatenate(list(draws(32, 300, 0)))
    covered = plain = 0
    for seed in range(100):
        made = products(seed)
        low, high = np.quantile(ratios(made[None], weights)[:, 0], (0.025, 0.975))
        covered += low <= truth <= high
        norms = np.sqrt(squared_norms(made, weights))
        low, high = np.quantile(norms[:, 0] / norms[:, 1:].mean(1), (0.025, 0.975))
        plain += low <= truth <= high
    assert covered >= 88
    assert plain < 50


def test_a_table_is_read_whichever_way_its_blocks_stand() -> None:
    table = RUN["gradient_blocks"]
    products = block_products(table, 3)
    assert products.shape == (3, 32, 7, 7)
    row = table.to_dict("records")[100]
    i, j = row["block_i"], row["block_j"]
    assert i != j
    assert products[row["layer"], row["position"], [i, j], [j, i]].tolist() == [row["dot"]] * 2


def test_what_cannot_be_resampled_has_no_draws() -> None:
    alone = Resampled(synthetic(Shape(2, 2, 1, sequences=1)), 10, 0, 0)
    assert np.isnan(alone.means("loss")).all()
    assert np.isnan(alone.gradient_sinks).all()
    assert np.isnan(Resampled(FORWARD, 10, 0, 0).gradient_sinks).all()
    assert np.isnan(Sample(FORWARD).gradient_sinks).all()
    assert np.isnan(Sample(RUN).means("unheard of")).all()
