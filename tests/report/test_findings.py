"""The sentences follow the numbers."""

import re

import pytest
from synthetic import Shape, changed, synthetic

from sinkscope.report.analysis.findings import findings

SINKS = synthetic(Shape(2, 4, 2))
NO_SINKS = synthetic(Shape(2, 4, 2, sinks=False, massive=False))
NO_MASSIVE = synthetic(Shape(2, 4, 2, massive=False))
FORWARD = synthetic(Shape(2, 4, 2, backward=False))


def test_sinks_are_counted_and_located() -> None:
    sentence = findings(SINKS)[0]
    head = SINKS.info["headline"]
    assert f"{head['sink_heads']} of {head['heads_total']} heads" in sentence
    assert '"<bos>"' in sentence
    assert "later token is a second sink" in sentence


def test_a_sink_of_few_heads_is_called_weak() -> None:
    sentence = findings(changed(SINKS, sink_heads=1, heads_total=40, sink_layers=1))[0]
    assert "is a weak attention sink: 1 of 40 heads (2 %), in 1 of 2 layers, gives" in sentence


def test_their_absence_is_told_with_the_largest_alpha() -> None:
    largest = NO_SINKS["heads"]["alpha"].max()
    assert f"largest: {largest:.3g}" in findings(NO_SINKS)[0]
    assert "no other position holds a sink" in findings(NO_SINKS)[0]
    assert findings(NO_SINKS)[1].startswith("Massive activations are absent too")


def test_sinks_only_elsewhere() -> None:
    sentence = findings(changed(SINKS, sink_heads=0))[0]
    assert sentence.startswith("No head gives token 0")
    assert "a later token is a second sink" in sentence


def test_sinks_with_and_without_massive_activations() -> None:
    assert findings(SINKS)[1].startswith("Massive activations accompany it")
    assert findings(NO_MASSIVE)[1].startswith("The sink comes without massive activations")
    assert findings(changed(SINKS, sink_heads=0))[1].startswith("Massive activations occur without a sink at token 0")


def test_the_binary_test_can_miss_what_the_continuous_measure_sees() -> None:
    sentence = findings(changed(NO_MASSIVE, abs_max=95.0, abs_max_over_median=950.0,
                                abs_over_median_max=990.0, kurtosis_max=4000.0))[1]  # fmt: skip
    assert "yet the largest entry of the residual stream is 95.0 in layer" in sentence
    assert "950 times the median of its sequence and layer, entries reach 990 times the median" in sentence
    assert "4,000" in sentence


@pytest.mark.parametrize(
    ("ratio", "wording"), [(1.1, "do not gather"), (4.0, "below"), (40.0, "within"), (140.0, "above")]
)
def test_gradients_are_placed_against_the_paper(ratio: float, wording: str) -> None:
    sentence = findings(changed(SINKS, gradient_sink_median=ratio))[2]
    assert wording in sentence
    assert f"{ratio:#.3g}".rstrip(".") in sentence


def test_violated_bounds_come_before_everything_else() -> None:
    sentence = findings(changed(SINKS, bound_violations=3))[2]
    assert sentence.startswith("3 of ")
    assert "wrongly" in sentence


def test_without_gradients_nothing_is_said_about_them() -> None:
    assert findings(FORWARD)[2].startswith("Gradients were not measured")


def test_an_undefined_ratio_is_no_error() -> None:
    assert "undefined" in findings(changed(SINKS, gradient_sink_median=None))[2]


@pytest.mark.parametrize("run", [SINKS, NO_SINKS, NO_MASSIVE, FORWARD])
def test_no_sentence_claims_a_cause(run) -> None:
    for sentence in findings(run):
        assert not re.search(r"\b(caus|because|therefore|due to|leads? to|makes?|drives?|explains?)", sentence)
        assert sentence.endswith(".")
