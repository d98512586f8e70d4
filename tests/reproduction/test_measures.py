"""The numbers of the claims, against plain loops over made tables."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sinkscope.reproduction.claim import BASELINE, VSCALE
from sinkscope.reproduction.claims import TESTS
from sinkscope.reproduction.measures import NONE, STATIC, Seed, numbers
from sinkscope.reproduction.rule import LAYERS, SEQUENCES, One
from sinkscope.tables.run_folder import Run

LAYER_COUNT, POSITIONS = 4, 20
SITES = ("q", "k", "v")


def made(seed: int = 0, **info: Any) -> Run:
    """A run with the tables that measures by layer read."""
    draw = np.random.default_rng(seed)
    positions = [
        {"layer": layer, "site": site, "position": place, "grad_norm": draw.uniform(0.5, 2)}
        for layer in range(LAYER_COUNT) for site in SITES for place in range(POSITIONS)
    ]  # fmt: skip
    branches = [
        {"layer": layer, "branch": branch, "position": place, **{name: draw.uniform(0.5, 2) for name in
         ("input_norm", "bloat", "change", "compress")}}
        for layer in range(LAYER_COUNT) for branch in ("attn", "mlp") for place in range(POSITIONS)
    ]  # fmt: skip
    theta = [{"layer": layer, "kv_head": head, "theta": draw.normal(), "C": 1.0} for layer in range(LAYER_COUNT)
             for head in range(2)]  # fmt: skip
    tables = {"positions": positions, "branches": branches, "vscale": theta}
    settings = {"backward": info.pop("backward", True)}
    return Run({"settings": settings, "model": {"dtype": "float32", **info}}, {k: pd.DataFrame(v) for k, v in
               tables.items()})  # fmt: skip


def number(test: str, run: Run) -> One:
    return numbers(TESTS[test], [Seed({BASELINE: run, VSCALE: run})])[0]


def cells(run: Run, table: str, column: str, **where: Any) -> list[float]:
    """The cells of a column, row by row, where other columns have a value."""
    rows: Any = run[table].to_dict("records")
    return [row[column] for row in rows if all(row[name] == value for name, value in where.items())]


def geometric(values: list[float]) -> float:
    return math.prod(values) ** (1 / len(values))


def test_pathways_at_token_0() -> None:
    run = made()
    q, k, v = (cells(run, "positions", "grad_norm", site=site, position=0) for site in SITES)
    ratios = [value / key for value, key in zip(v, k, strict=True)]
    shares = [(key - query) / (query + key + value) for query, key, value in zip(q, k, v, strict=True)]
    assert number("value-over-key", run).value == pytest.approx(geometric(ratios))
    assert number("key-over-query", run).value == pytest.approx(sum(shares) / LAYER_COUNT)


def test_reshaping_at_token_0() -> None:
    run = made()
    for test, column in (("change", "change"), ("bloat", "bloat")):
        own = cells(run, "branches", column, branch="attn", position=0)
        found = number(test, run)
        assert found.value == pytest.approx(geometric(own))
        assert found.over == LAYERS
        assert np.exp(found.units) == pytest.approx(own)
    ratios = []
    for layer in range(LAYER_COUNT):
        own = cells(run, "branches", "bloat", branch="attn", layer=layer)
        ratios.append(own[0] / geometric(own[1:16]))
    assert number("bloat-over-early", run).value == pytest.approx(geometric(ratios))


def test_slope_of_compress_with_its_jackknife() -> None:
    run = made()

    def slope(layers: list[int]) -> float:
        x, y = [], []
        for layer in layers:
            x += cells(run, "branches", "input_norm", branch="attn", layer=layer)[:16]
            y += cells(run, "branches", "compress", branch="attn", layer=layer)[:16]
        return float(np.polyfit(np.log(x), np.log(y), 1)[0])

    found, every = number("compress-slope", run), list(range(LAYER_COUNT))
    assert found.value == pytest.approx(slope(every))
    without = [slope([layer for layer in every if layer != left]) for left in every]
    pseudo = [LAYER_COUNT * found.value - (LAYER_COUNT - 1) * each for each in without]
    assert found.units == pytest.approx(np.array(pseudo))


def test_theta_by_halves() -> None:
    run = made()
    theta = [cells(run, "vscale", "theta", layer=layer) for layer in range(LAYER_COUNT)]
    assert number("theta-early", run).value == pytest.approx(np.mean(theta[:2]))
    assert number("theta-late", run).value == pytest.approx(np.mean(theta[2:]))


def test_damage_by_sequence() -> None:
    draw = np.random.default_rng(0)
    rows = [
        {"model": model, "method": method, "sequence": place, "loss_sum": draw.uniform(50, 60), "targets": 20}
        for model in ("a", "b") for method in (NONE, "w8a8-dynamic", STATIC, "w8a8-static-down") for place in range(6)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    seed = Seed({}, Run({}, {"losses": table}), {BASELINE: "a", VSCALE: "b"})

    def loss(model: str, method: str) -> float:
        own = [row for row in rows if row["model"] == model and row["method"] == method]
        return sum(row["loss_sum"] for row in own) / sum(row["targets"] for row in own)

    def found(test: str) -> One:
        return numbers(TESTS[test], [seed])[0]

    damage = {method: loss("a", method) - loss("a", NONE) for method in (STATIC, "w8a8-dynamic", "w8a8-static-down")}
    assert found("static-hurts").value == pytest.approx(damage[STATIC])
    assert found("static-hurts").over == SEQUENCES
    assert len(found("static-hurts").units) == 6  # type: ignore[arg-type]
    assert found("dynamic-spares").value == pytest.approx(damage["w8a8-dynamic"])
    assert found("down-explains").value == pytest.approx(damage["w8a8-static-down"] - damage[STATIC] / 2)
    twin = loss("b", STATIC) - loss("b", NONE)
    assert found("static-hurts-vscale-less").value == pytest.approx(damage[STATIC] - twin)
    assert numbers(TESTS["static-hurts"], [Seed({})])[0].missing == "nothing was quantized"


def test_what_was_not_measured_is_said() -> None:
    assert number("bloat", made(backward=False)).missing == "gradients were not measured"
    assert number("first-query", made(backward=False)).missing == "gradients were not measured"
    run = made()
    without = Run(run.info, {name: table for name, table in run.tables.items() if name != "vscale"})
    assert number("theta-early", without).missing == "the model has no V-scale"
