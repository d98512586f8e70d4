"""The pages of a quantization run: legible for one model and for many, and words that follow the numbers."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from inspection import assert_legible, words
from test_figures import AWKWARD

from sinkscope.report.quantization import damage, front_page, outliers, provenance, ranking
from sinkscope.report.quantization.terminal import summary
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run

SITES = ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj")


def run(models: list[str], methods: list[str], *, layers: int = 3, comparable: bool = True, lost: str = "") -> Run:
    """A made-up run: `lost` is a method whose loss is not finite."""
    names = ("quantization", "losses", "parts", "noise", "ranking", "histograms", "outliers")
    rows = {name: Rows(name) for name in names}
    for number, model in enumerate(models):
        for place, method in enumerate(methods):
            delta = np.nan if method == lost else 0.002 * place**3 * (number + 1)
            rows["quantization"].add(
                model=model, method=method, weight_bits=8.0, activation_bits=np.nan, granularity="W per channel",
                loss=2 + delta, loss_low=1.9, loss_high=2.3, perplexity=np.exp(2 + delta), delta=delta,
                delta_low=delta - 0.001, delta_high=delta + 0.002, windows="abc",
            )  # fmt: skip
            rows["losses"].add(model=model, method=method, sequence=0, loss_sum=20.0, targets=10)
        for part, delta in (("weights", 0.0001), ("activations", 0.03), ("both", 0.031)):
            rows["parts"].add(model=model, method="w8a8-static", part=part, loss=2.0, delta=delta,
                              delta_low=delta - 0.01, delta_high=delta + 0.01)  # fmt: skip
        for layer in range(layers):
            for site in SITES:
                where: dict[str, Any] = {"layer": layer, "site": site, "module": f"model.layers.{layer}.{site}"}
                rows["noise"].add(
                    model=model, method="w8a8-static", **where, activation_absmax=3.0, weight_absmax=1.0,
                    activation_zeroed=0.1, weight_zeroed=0.1, sqnr_activation=30.0, sqnr_weight=40.0,
                    sqnr_output=20.0 + layer,
                )  # fmt: skip
                rows["ranking"].add(model=model, method="w8a8-static", rank=layer + 1, **where,
                                    delta_alone=0.01 / (layer + 1), recovered=-0.001)  # fmt: skip
        edges = 2.0 ** np.arange(-10, 1)
        for tensor in ("activation", "weight"):
            rows["histograms"].add(model=model, **where, tensor=tensor, low=edges[:-1], high=edges[1:],
                                   count=np.arange(10))  # fmt: skip
        rows["outliers"].add(model=model, abs_max=10.0 ** (number + 1), abs_max_over_median=50.0, kurtosis_max=40.0,
                             linear_absmax=9.0, sink_rate_mean=0.3, sink_rate_max=0.5, massive_count=0)  # fmt: skip
    described = [{"name": model, "revision": None, "weights_sha256": "f" * 64, "family": "llama"} for model in models]
    info = {
        "kind": "quantization", "sinkscope": "0", "created": "now", "models": described, "device": "cpu",
        "data": {"source": "stdlib", "sha256": dict.fromkeys(models, "a" * 64), "sequences": 4, "tokens": 16,
                 "targets": 60, "comparable": comparable},
        "settings": {"methods": methods, "backward": False}, "conventions": {"delta": "a convention"}, "notes": [],
        "versions": {"torch": "2"}, "seconds": 1.0, "peak_memory_bytes": 2**20,
    }  # fmt: skip
    return Run(info, {name: of.frame() for name, of in rows.items()})


METHODS = ["none", "w8a8-dynamic", "w8a8-static", "nf4"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "made",
    [
        run(["demo"], ["none", "w8"]),
        run(["demo", AWKWARD], METHODS, lost="nf4"),
        run([f"model-{n}" for n in range(7)], [*METHODS, "int8", "gptq", "awq", "torchao-int8-weights"], layers=40),
    ],
    ids=["one", "two", "many"],
)
def test_pages_are_legible(made: Run) -> None:
    assert_legible(made)


def test_words_follow_the_numbers() -> None:
    said = str(summary(run(["demo", "twin"], METHODS, lost="nf4")))
    assert "w8a8-static costs most" in said
    assert "nf4 gave no finite loss" in said
    assert "their perplexities compare" in said


def test_a_logarithmic_axis_says_so() -> None:
    spread, narrow = run(["demo"], METHODS), run(["demo"], ["none", "w8"])
    spread["quantization"].loc[spread["quantization"]["method"] == "nf4", "delta"] = 5.0
    labels = [damage.ENTRY.draw(made).axes[1].get_ylabel() for made in (spread, narrow)]
    assert ["logarithmic" in label for label in labels] == [True, False]


def test_close_perplexities_are_told_apart() -> None:
    """An axis from zero would draw 7.39 and 7.40 as two equal bars."""
    low, high = damage.ENTRY.draw(run(["demo"], ["none", "w8"])).axes[0].get_ylim()
    assert low > 7
    assert high < 8


def test_models_stand_by_their_names() -> None:
    axes = outliers.ENTRY.draw(run(["demo", "twin"], METHODS)).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["demo", "twin"]


def test_panels_of_a_ranking_share_their_axis() -> None:
    panels = ranking.ENTRY.draw(run(["demo", "twin"], METHODS)).axes[:2]
    assert panels[0].get_xlim() == panels[1].get_xlim()


def test_lists_are_written_as_words() -> None:
    said = words(provenance.ENTRY.draw(run(["demo"], METHODS)))
    assert "none, w8a8-dynamic, w8a8-static, nf4" in said
    assert "['" not in said


def test_perplexities_of_other_tokenizers_are_said_not_to_compare() -> None:
    made = run(["demo", "other"], METHODS, comparable=False)
    assert "do NOT compare" in str(summary(made))
    assert "do NOT compare" in words(front_page.ENTRY.draw(made))


def test_the_report_needs_no_torch() -> None:
    blocked = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None"
    script = f"{blocked}; import sinkscope.report.quantization.pages"
    subprocess.run([sys.executable, "-c", script], check=True)
