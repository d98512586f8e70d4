"""The pages of a quantization run: legible for one model and for many, and words that follow the numbers."""

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from inspection import assert_legible, words
from test_figures import AWKWARD

from sinkscope.methods.choose import LIBRARY
from sinkscope.report.quantization import damage, front_page, outliers, provenance, ranking
from sinkscope.report.quantization.sentences import calibration, cells, findings, header, subtitle, worst_method
from sinkscope.report.quantization.terminal import summary
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run

SITES = ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj")

UNMITIGATED: dict[str, Any] = {
    "mitigation": "none", "mitigation_chose": "", "against_unmitigated": np.nan, "against_unmitigated_low": np.nan,
    "against_unmitigated_high": np.nan,
}  # fmt: skip


def run(models: list[str], methods: list[str], *, layers: int = 3, comparable: bool = True, lost: str = "") -> Run:
    """A made-up run: `lost` is a method whose loss is not finite."""
    names = ("quantization", "losses", "parts", "noise", "ranking", "histograms", "outliers", "quantization_positions")
    rows = {name: Rows(name) for name in names}
    for number, model in enumerate(models):
        for place, method in enumerate(methods):
            delta = np.nan if method == lost else 0.002 * place**3 * (number + 1)
            rows["quantization"].add(
                model=model, method=method, weight_bits=8.0, activation_bits=np.nan, granularity="W per channel",
                loss=2 + delta, loss_low=1.9, loss_high=2.3, perplexity=np.exp(2 + delta), delta=delta,
                delta_low=delta - 0.001, delta_high=delta + 0.002, windows="abc", **UNMITIGATED,
            )  # fmt: skip
            rows["losses"].add(model=model, method=method, sequence=0, loss_sum=20.0, targets=10, mitigation="none")
            starts = 2 ** np.arange(10)
            along = delta * np.log2(starts + 1)
            rows["quantization_positions"].add(
                model=model, method=method, start=starts, stop=2 * starts, targets=4 * starts, loss=2 + along,
                delta=along, delta_low=along - 0.01, delta_high=along + 0.01, mitigation="none",
            )  # fmt: skip
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
        run(["demo"], ["none", "w8", "cache-k4v4", "cache-k2v2-g64-sinks128-window128"]),
        run(["demo", AWKWARD], METHODS, lost="nf4"),
        run([f"model-{n}" for n in range(7)], [*METHODS, "int8", "gptq", "awq", "torchao-int8-weights"], layers=40),
    ],
    ids=["one", "caches", "two", "many"],
)
def test_pages_are_legible(made: Run) -> None:
    assert_legible(made)


def test_words_follow_the_numbers() -> None:
    said = str(summary(run(["demo", "twin"], METHODS, lost="nf4")))
    assert "nf4 gave no finite loss" in said
    assert "w8a8-static costs most, +0.0160" in said  # its interval lies above that of the other
    assert "w8a8-dynamic costs least" in said
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


def test_one_model_is_named_once() -> None:
    """In the line below the title: no column of the table and no panel repeats it."""
    one, two = run(["lonely-model"], METHODS), run(["lonely-model", "twin"], METHODS)
    for made, repeated in ((one, 0), (two, 1)):
        said = words(front_page.ENTRY.draw(made)) + words(ranking.ENTRY.draw(made))
        assert ("lonely-model" in said) == bool(repeated)
        assert len(header(made)) == len(cells(made)[0])
    assert "lonely-model" in subtitle(one)


@pytest.mark.parametrize("models", [["demo"], ["demo", "twin"]])
def test_no_scale_is_cut(models: list[str]) -> None:
    """What shares a scale fits its column, for every method of a library."""
    made = run(models, ["none", *LIBRARY])
    for name, method in LIBRARY.items():
        rows = made["quantization"]
        made["quantization"].loc[rows["method"] == name, "granularity"] = method.granularity
    said = words(front_page.ENTRY.draw(made))
    assert [name for name, method in LIBRARY.items() if method.granularity not in said] == []
    assert [title for title in header(made) if title not in said] == []


def test_the_worst_method_is_one_or_none() -> None:
    assert worst_method(run(["demo", "twin"], METHODS)) == "nf4"
    assert worst_method(run(["demo"], ["none", "w8"])) is None  # there is nothing to be worse than
    assert worst_method(run(["demo"], METHODS, lost="nf4")) is None
    made = run(["demo"], METHODS)
    made["quantization"].loc[made["quantization"]["method"] == "w8a8-static", "delta_high"] = 0.06
    assert worst_method(made) is None  # not told apart from nf4
    titles = [damage.ENTRY.draw(one).axes[0].get_title() for one in (made, run(["demo"], METHODS))]
    assert titles == ["Perplexity of each method", "nf4 costs most"]


def test_panels_of_a_ranking_share_their_axis() -> None:
    panels = ranking.ENTRY.draw(run(["demo", "twin"], METHODS)).axes[:2]
    assert panels[0].get_xlim() == panels[1].get_xlim()


def test_lists_are_written_as_words() -> None:
    said = words(provenance.ENTRY.draw(run(["demo"], METHODS)))
    assert "none, w8a8-dynamic, w8a8-static, nf4" in said
    assert "['" not in said


def with_paired(made: Run, differences: dict[tuple[str, str, str, str], tuple[float, float]]) -> Run:
    """The run with intervals of differences, by model, method, other model and other method."""
    rows = Rows("paired")
    for (model, method, other_model, other_method), (low, high) in differences.items():
        rows.add(model=model, method=method, other_model=other_model, other_method=other_method,
                 difference=(low + high) / 2, difference_low=low, difference_high=high, mitigation="none",
                 other_mitigation="none")  # fmt: skip
    return Run(made.info, {**made.tables, "paired": rows.frame()})


def test_ties_are_said_as_ties() -> None:
    """By the paired interval of the difference, whatever the intervals of the two changes do."""
    made = run(["demo"], METHODS)  # changes of 0.002, 0.016 and 0.054
    pairs = [("w8a8-static", "w8a8-dynamic"), ("nf4", "w8a8-dynamic"), ("nf4", "w8a8-static")]
    apart, tied = (0.001, 0.03), (-0.001, 0.03)

    def said(*ends: tuple[float, float]) -> str:
        named = [("demo", one, "demo", other) for one, other in pairs]
        return findings(with_paired(made, dict(zip(named, ends, strict=True))))[0]

    assert "nf4 costs most, +0.0540" in said(apart, apart, apart)
    top = said(apart, apart, tied)
    assert "nf4 and w8a8-static cost most and are not told apart, +0.0160 to +0.0540" in top
    assert "w8a8-dynamic costs least, +0.0020" in top
    assert "w8a8-static and w8a8-dynamic cost least and are not told apart" in said(tied, apart, apart)
    assert "nf4, w8a8-static and w8a8-dynamic are not told apart" in said(tied, tied, tied)
    for words_of_rank in ("most", "least"):
        assert words_of_rank not in said(tied, tied, tied)


def test_one_method_is_not_ranked() -> None:
    assert "w8 costs +0.0020 nats per token" in findings(run(["demo"], ["none", "w8"]))[0]


def test_two_models_are_set_against_each_other() -> None:
    made = run(["demo", "twin"], ["none", "w8", "nf4"])
    made = with_paired(made, {("twin", "w8", "demo", "w8"): (-0.01, 0.02), ("twin", "nf4", "demo", "nf4"): (0.1, 0.2)})
    text = " ".join(findings(made))
    assert "twin against demo, paired over sequences: nf4 costs more; w8 not told apart." in text
    assert cells(made)[-1][:2] == ("twin minus demo", "nf4")
    assert cells(made)[-1][5:7] == ("+0.1500", "+0.1000 to +0.2000")
    assert "twin minus demo" in words(front_page.ENTRY.draw(made))
    assert "twin minus demo" in str(summary(made))


def test_models_as_they_were_loaded_are_set_against_each_other() -> None:
    """What a format of a file cost, where one model is the other in that format."""
    made = run(["original", "file.gguf"], ["none"])
    pair = ("file.gguf", "none", "original", "none")
    said = " ".join(findings(with_paired(made, {pair: (0.1, 0.3)})))
    assert "file.gguf against original, both as loaded: +0.2000 nats per token (+0.1000 to +0.3000)." in said
    assert "not told apart" in " ".join(findings(with_paired(made, {pair: (-0.1, 0.3)})))
    assert cells(with_paired(made, {pair: (0.1, 0.3)}))[-1][-1] == "difference of the losses"


def test_what_was_calibrated_on_is_said() -> None:
    made = run(["demo"], METHODS)
    itself = "w8a8-static: calibrated on the evaluated windows themselves"
    assert itself in str(summary(made))
    assert itself in words(front_page.ENTRY.draw(made))
    made.info["settings"] |= {
        "calibration_data": "other.txt",
        "calibration_sequences": 8,
        "calibrated_methods": ["gptq"],
    }
    assert calibration(made) == "gptq: calibrated on 8 windows of other.txt."
    made.info["settings"]["calibration_windows"] = "named"
    assert calibration(made) == "gptq: calibrated on 8 windows of other.txt."
    made.info["settings"]["calibration_data"] = "stdlib"  # the evaluated text, which is read from its start again
    assert "on the evaluated windows themselves" in calibration(made)
    made.info["settings"] |= {"calibration_data": None, "calibration_windows": "behind", "mitigate": ["none", "smooth"]}
    assert calibration(made) == "gptq, smooth: calibrated on 8 windows of stdlib behind the evaluated ones."
    made.info["settings"] |= {"calibrated_methods": [], "mitigate": ["none"]}
    assert calibration(made) == ""


def test_perplexities_of_other_tokenizers_are_said_not_to_compare() -> None:
    made = run(["demo", "other"], METHODS, comparable=False)
    assert "do NOT compare" in str(summary(made))
    assert "do NOT compare" in words(front_page.ENTRY.draw(made))


def test_the_report_needs_no_torch() -> None:
    blocked = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None"
    script = f"{blocked}; import sinkscope.report.quantization.pages"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_without_intervals_nothing_is_said_to_be_tied() -> None:
    made = run(["demo"], METHODS)
    for column in ("delta_low", "delta_high"):
        made["quantization"][column] = np.nan
    said = words(front_page.ENTRY.draw(made))
    assert "no interval says whether they differ, for want of sequences" in said
    assert "not told apart" not in said
