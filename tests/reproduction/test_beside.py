"""Ours beside the paper's: means and intervals over seeds, and pathways by position, against plain loops."""

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sinkscope.intervals import limits
from sinkscope.reproduction import measures
from sinkscope.reproduction.beside import beside_paper
from sinkscope.reproduction.claim import BASELINE, VSCALE
from sinkscope.reproduction.claims import TESTS
from sinkscope.reproduction.judge import judged_number
from sinkscope.reproduction.measures import NONE, Seed, numbers
from sinkscope.reproduction.pathways import pathways
from sinkscope.reproduction.rule import BLOCKS
from sinkscope.reproduction.rule import SEQUENCES as SEQUENCES_WORD
from sinkscope.reproduction.trainings import tracked, trainings
from sinkscope.tables.columns import frame
from sinkscope.tables.run_folder import Run

T2 = 4.302653  # 97.5 % point of Student's t with two degrees of freedom


SEQUENCES, LAYERS = 4, 2
FORMULAS = {"residual_t0_mean": "h_out_t0", "sink_rate_mean": "sink_rate"}
NO_TRAININGS = frame("trainings", {"model": [], "seed": [], "valid_loss": []})


def analyzed(name: str, value: float) -> Run:
    """A run whose headline number has this value, in every sequence and layer."""
    rows = [{"sequence": sequence, "layer": layer, "metric": FORMULAS[name], "value": value}
            for sequence in range(SEQUENCES) for layer in range(LAYERS)]  # fmt: skip
    tables = {"sequences": pd.DataFrame(rows), "layers": pd.DataFrame({"layer": range(LAYERS)}),
              "gradient_blocks": pd.DataFrame()}  # fmt: skip
    return Run({"data": {"sequences": SEQUENCES}, "settings": {"backward": False}}, tables)


def seeds(name: str, values: list[float]) -> list[Seed]:
    return [Seed({BASELINE: analyzed(name, value)}) for value in values]


def trained(**losses: list[float]) -> pd.DataFrame:
    names = {"baseline": BASELINE, "vscale": VSCALE}
    rows = [(names[role], seed, loss) for role, own in losses.items() for seed, loss in enumerate(own)]
    return pd.DataFrame(rows, columns=["model", "seed", "valid_loss"])


def row(table: pd.DataFrame, metric: str) -> dict[str, Any]:
    (found,) = table[table["metric"] == metric].to_dict("records")
    return dict(found)


def test_means_are_geometric_with_students_interval() -> None:
    values = [100.0, 150.0, 130.0]
    found = row(beside_paper(seeds("residual_t0_mean", values), NO_TRAININGS, {}), "residual_t0_mean")
    logs = [math.log(value) for value in values]
    half = T2 * statistics.stdev(logs) / math.sqrt(3)
    assert found["value"] == pytest.approx(math.exp(statistics.mean(logs)))
    assert (found["low"], found["high"]) == pytest.approx(
        tuple(math.exp(statistics.mean(logs) + side * half) for side in (-1, 1))
    )
    assert found["paper"] == 1916


def test_a_share_ends_at_1_and_one_training_has_no_interval() -> None:
    def rate(*values: float) -> dict[str, Any]:
        return row(beside_paper(seeds("sink_rate_mean", list(values)), NO_TRAININGS, {}), "sink_rate_mean")

    pair = rate(0.2, 0.9)
    assert (pair["value"], pair["low"], pair["high"]) == (pytest.approx(0.55), 0.0, 1.0)
    alone = rate(0.2)
    assert math.isnan(alone["low"])
    assert math.isnan(alone["high"])
    three = rate(0.0, 0.5, 0.4)
    assert three["value"] == pytest.approx(0.3)
    assert three["high"] == pytest.approx(0.3 + T2 * statistics.stdev([0.0, 0.5, 0.4]) / math.sqrt(3))


def test_losses_are_set_against_the_baselines_pair_by_pair() -> None:
    baseline, vscale = [2.5, 2.6, 2.4], [2.8, 2.7, 2.9]
    pairs = [Seed({BASELINE: one, VSCALE: one}) for one in [analyzed("sink_rate_mean", 0.5)] * 3]
    table = beside_paper(pairs, trained(baseline=baseline, vscale=vscale), {})
    differences = [one - other for one, other in zip(vscale, baseline, strict=True)]
    found = row(table, "valid_loss_difference")
    assert found["model"] == VSCALE
    assert found["value"] == pytest.approx(statistics.mean(differences))
    assert found["high"] - found["value"] == pytest.approx(T2 * statistics.stdev(differences) / math.sqrt(3))
    assert found["paper"] == pytest.approx(2.9068 - 2.9168)
    both = table[table["metric"] == "valid_loss"].set_index("model")["value"]
    assert both.to_dict() == pytest.approx({BASELINE: 2.5, VSCALE: 2.8})


def test_what_other_text_would_do_to_int8_is_in_the_interval_of_several_seeds() -> None:
    draw = np.random.default_rng(0)
    text = draw.normal(0, 0.4, 12)
    damages = [0.0, 0.01, 0.02]
    made = []
    for damage in damages:  # all seeds read the same windows, so that a window does the same to all
        rows = [
            {"model": "m", "method": method, "sequence": place, "loss_sum": 100 * (3 + plus), "targets": 100}
            for place in range(12)
            for method, plus in ((NONE, 0.0), ("w8a8-static", damage + text[place]))
        ]
        made.append(Seed({BASELINE: analyzed("sink_rate_mean", 0.5)}, Run({}, {"losses": pd.DataFrame(rows)}),
                         {BASELINE: "m"}))  # fmt: skip
    test = TESTS["static-hurts"]
    found = judged_number(test, numbers(test, made), refuted=False).found
    variance = statistics.variance(damages) / 3 + statistics.variance(text.tolist()) / 12
    assert found.high - found.value == pytest.approx(T2 * math.sqrt(variance))
    perplexity = beside_paper(made, NO_TRAININGS, {})
    own = perplexity[(perplexity["method"] == "w8a8-static") & (perplexity["metric"] == "perplexity")].iloc[0]
    loss = 3 + statistics.mean(damages) + text.mean()
    assert own["value"] == pytest.approx(math.exp(loss))
    assert own["high"] == pytest.approx(math.exp(loss + T2 * math.sqrt(variance)))


def test_a_perplexity_beyond_all_numbers_is_no_error() -> None:
    def seed(loss: float) -> Seed:
        rows = [
            {"model": "m", "method": "none", "sequence": place, "loss_sum": loss, "targets": 1} for place in range(4)
        ]
        quantized = Run({}, {"losses": pd.DataFrame(rows)})
        return Seed({BASELINE: analyzed("sink_rate_mean", 0.5)}, quantized, {BASELINE: "m"})

    found = row(beside_paper([seed(5.0), seed(120.0)], NO_TRAININGS, {}), "perplexity")
    assert found["low"] < found["value"] < found["high"] < math.inf


def test_draws_of_blocks_are_said_to_be_of_blocks() -> None:
    draws = limits.Drawn(np.array([2.0, 2.1, 2.2]), 32)
    many, few = (Run({"data": {"sequences": count}}, {}) for count in (64, 32))
    assert (measures._of(many, draws), measures._of(few, draws)) == (BLOCKS, SEQUENCES_WORD)


def test_tracks_and_last_losses_are_taken_over(tmp_path: Path) -> None:
    track = pd.DataFrame(
        {"step": [1, 2], "metric": ["loss"] * 2, "value": [3.0, 2.0], "low": [2.5, 1.5], "high": [4.0, 3.0]}
    )
    taken = tracked({BASELINE: Run({}, {"track": track})})
    assert taken.drop(columns="model").to_dict("list") == track.to_dict("list")
    pd.DataFrame({"step": [1, 2, 3], "valid_loss": [3.0, 2.5, None]}).to_parquet(tmp_path / "metrics.parquet")
    ended = trainings({BASELINE: [tmp_path / "metrics.parquet"]}, [7])
    assert ended.to_dict("records") == [{"model": BASELINE, "seed": 7, "valid_loss": 2.5}]


def test_pathways_are_means_over_layers() -> None:
    draw = np.random.default_rng(0)
    rows = [
        {"layer": layer, "site": site, "position": place, "grad_norm": draw.uniform(1, 2)}
        for layer in range(3) for site in ("q", "k", "v", "hn") for place in range(40)
    ]  # fmt: skip
    table = pathways([Seed({BASELINE: Run({}, {"positions": pd.DataFrame(rows)})})])
    assert set(table["site"]) == {"q", "k", "v"}
    assert table["position"].max() == 31
    own = [each["grad_norm"] for each in rows if each["site"] == "k" and each["position"] == 7]
    (found,) = table[(table["site"] == "k") & (table["position"] == 7)]["grad_norm"]
    assert found == pytest.approx(sum(own) / 3)
