"""The pages of an ablation: legible whatever was taken away, and words that follow from verdicts alone."""

import math

import numpy as np
import pytest
from inspection import assert_legible, words
from test_figures import AWKWARD

from sinkscope.ablation.assemble import Measured, super_weights, tables, untouched
from sinkscope.ablation.scores import Scores
from sinkscope.interventions.weights import SuperWeight, WeightAt
from sinkscope.report.ablation import by_layer, damage, front_page, positions, quantities
from sinkscope.report.ablation import super_weights as weights_page
from sinkscope.report.ablation.sentences import cells, findings
from sinkscope.report.ablation.terminal import summary
from sinkscope.tables.run_folder import Run

EDGES = np.array([1, 5, 9, 13, 17])
FOUND = SuperWeight(WeightAt(2, 3968, 7003), -1.5, 0, 400.0, -620.0, 0.97)


def _scores(change: float, *, sequences: int = 5, spread: float = 0.01) -> Scores:
    exact = np.full((sequences, 4), 4 * 2.5) + np.arange(sequences)[:, None]
    targets = np.full((sequences, 4), 4.0)
    noise = spread * np.random.default_rng(round(1000 * abs(change))).normal(size=exact.shape)
    return Scores(exact + 4 * (change + noise), exact, np.full_like(exact, 4 * abs(change)), targets)


def run(
    changes: dict[tuple[str, str], tuple[float, float | None]],
    *,
    name: str = "demo",
    found: tuple[SuperWeight, ...] = (),
    notes: tuple[str, ...] = (),
    sequences: int = 5,
) -> Run:
    """A made-up run: by name and place, the change of the loss and that of the control; None for no control."""
    numbers = {"sink_rate_mean": 0.6, "gradient_sink_median": 40.0, "abs_max": 2e4, "value_drain": 0.1}
    measured = [untouched(_scores(0.0, sequences=sequences, spread=0), numbers, [])] if changes else []
    for (what, where), (change, control) in changes.items():
        controls = [] if control is None else [_scores(control + 0.001 * n, sequences=sequences) for n in range(3)]
        less = {key: value / 2 for key, value in numbers.items()}
        measured.append(
            Measured(what, where, "heads", 3.0, _scores(change, sequences=sequences), controls, less, numbers)
        )
    made = tables(measured, EDGES, seed=0, margin=1.05)
    made["super_weights"] = super_weights(list(found), name)
    info = {
        "kind": "ablation", "sinkscope": "0", "created": "now", "device": "cpu", "seconds": 1.0,
        "model": {"name": name, "revision": None, "weights_sha256": "f" * 64, "family": "llama", "layers": 3},
        "data": {"source": "stdlib", "sha256": "a" * 64, "sequences": sequences, "tokens": 17, "bos": False,
                 "isolated_documents": False, "targets": 80},
        "from": {"name": "run", "data_sha256": "b" * 64, "sinks": [0], "massive_layers": [1]},
        "settings": {"what": ["all"], "draws": 3, "margin": 1.05, "measured": 2, "backward": True},
        "conventions": {"change": "a convention"}, "notes": list(notes), "versions": {"torch": "2"},
        "peak_memory_bytes": 2**20,
    }  # fmt: skip
    return Run(info, made)


EVERY = {
    ("massive-zero", "first: layer 2"): (4.0, 0.001),
    ("massive-mean", "first: layer 2"): (0.002, 0.001),
    ("sink-attention", "all layers"): (0.3, 0.004),
    ("cache:0+4", "original positions"): (1.5, None),
    ("cache:1+3", "original positions"): (0.01, 1.4),
    ("first-token", "<bos> removed"): (-0.2, 0.0),
}
LAYERS = {(what, f"layer {layer} alone"): (0.1 * layer, 0.002)
          for what in ("massive-zero", "sink-value") for layer in range(3)}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        run({}, notes=("massive-zero: no massive activation in the residual stream",)),
        run({("sink-value", "all layers"): (0.1, 0.0)}),
        run(EVERY | LAYERS, name=AWKWARD, found=(FOUND,)),
        run({(f"cache:{n}+{100 - n}", "original positions"): (1.0 / (1 + n), 0.3) for n in range(26)}),
    ],
    ids=["nothing", "one", "every", "many"],
)
def test_pages_are_legible(made: Run) -> None:
    assert_legible(made)


def test_pages_are_there_where_they_show_something() -> None:
    nothing, every = run({}), run(EVERY | LAYERS, found=(FOUND,))
    for page in (damage, quantities, by_layer, positions, weights_page):
        assert not page.ENTRY.applies_to(nothing)
        assert page.ENTRY.applies_to(every)
    assert not by_layer.ENTRY.applies_to(run(EVERY))


def test_a_sentence_gathers_what_ends_alike() -> None:
    said = findings(run(EVERY))
    worse = [
        one for one in said if one.startswith("Perplexity is worse, by more than 5 %, and worse than with as much")
    ]
    assert len(worse) == 1
    assert "massive-zero, first: layer 2 +3.99" in worse[0]
    assert "sink-attention, all layers +0.298" in worse[0]
    assert "), control +0.0" in worse[0]
    assert "massive-mean" not in worse[0]
    (alone,) = [one for one in said if "and without a control" in one]
    assert alone.startswith("Perplexity is worse, by more than 5 %")
    assert "cache:0+4" in alone
    (kept,) = [one for one in said if "cache:1+3" in one]
    assert kept.startswith("Perplexity stays within 5 % of the untouched model's, and better than with as much")
    (gone,) = [one for one in said if "first-token" in one]
    assert gone.startswith("Perplexity is better, by more than 5 %, and better than")


def test_without_intervals_nothing_is_judged() -> None:
    made = run({("sink-value", "all layers"): (0.1, 0.0)}, sequences=2)
    (said,) = findings(made)
    assert (
        said
        == "Without an interval, as there are too few sequences or the loss is not finite: " + said.split(": ", 1)[1]
    )
    assert made["ablations"]["verdict"].tolist() == ["reference", "no interval"]


def test_nothing_to_take_away_is_said() -> None:
    made = run({}, notes=("massive-zero: no massive activation",))
    assert findings(made) == ["Nothing was taken away.", "Left out: massive-zero: no massive activation."]
    assert "Nothing was taken away." in str(summary(made))
    assert "Nothing was taken away." in words(front_page.draw(made))


def test_the_table_leaves_single_layers_to_their_page() -> None:
    rows = cells(run(EVERY | LAYERS))
    assert [row[0] for row in rows] == ["none", *(what for what, _ in EVERY)]
    assert rows[0][3] == "20.09"  # exp(2.5 + 2 / 4)
    assert rows[4][6:8] == ("", "")


def test_super_weights_are_told_with_the_published_ones() -> None:
    made = run(EVERY, name="huggyllama/llama-7b", found=(FOUND,))
    assert made["super_weights"]["source"].tolist() == ["found, published"]
    assert findings(made)[-1].startswith("1 super weight found by one forward pass; 1 of 1 published one of this model")
    other = run(EVERY, name="meta-llama/Llama-2-7b-hf", found=(FOUND,))["super_weights"]
    assert other["source"].tolist() == ["found", "published"]
    assert math.isnan(other["value"][1])
    assert run(EVERY, name="./mine")["super_weights"].empty
