"""Ours beside the paper's: means and intervals over seeds, and pathways by position, against plain loops."""

import math
import statistics
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sinkscope.reproduction.beside import beside_paper
from sinkscope.reproduction.claim import BASELINE
from sinkscope.reproduction.measures import Seed
from sinkscope.reproduction.pathways import pathways
from sinkscope.tables.run_folder import Run

T2 = 4.302653  # 97.5 % point of Student's t with two degrees of freedom


def seeds(**headline: list[float]) -> list[Seed]:
    count = len(next(iter(headline.values())))
    return [
        Seed({BASELINE: Run({"headline": {name: values[n] for name, values in headline.items()}}, {})})
        for n in range(count)
    ]


def row(table: pd.DataFrame, metric: str) -> dict[str, Any]:
    (found,) = table[table["metric"] == metric].to_dict("records")
    return dict(found)


def test_means_are_geometric_with_students_interval() -> None:
    values = [100.0, 150.0, 130.0]
    found = row(beside_paper(seeds(residual_t0_mean=values), {}, {}), "residual_t0_mean")
    logs = [math.log(value) for value in values]
    half = T2 * statistics.stdev(logs) / math.sqrt(3)
    assert found["value"] == pytest.approx(math.exp(statistics.mean(logs)))
    assert (found["low"], found["high"]) == pytest.approx(
        tuple(math.exp(statistics.mean(logs) + side * half) for side in (-1, 1))
    )
    assert found["paper"] == 1916


def test_a_share_ends_at_1_and_one_training_has_no_interval() -> None:
    assert row(beside_paper(seeds(sink_rate_mean=[0.2, 0.9]), {}, {}), "sink_rate_mean")["high"] == 1.0
    alone = row(beside_paper(seeds(sink_rate_mean=[0.2]), {}, {}), "sink_rate_mean")
    assert math.isnan(alone["low"])
    assert math.isnan(alone["high"])
    zero = row(beside_paper(seeds(sink_rate_mean=[0.0, 0.5]), {}, {}), "sink_rate_mean")
    assert zero["value"] == 0.25
    assert math.isnan(zero["low"])


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
