"""A comparison of runs: values, ratios, pairing, seeds, refusals, and tables that suffice to redraw it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from report.synthetic import Shape, changed, synthetic
from scipy import stats

from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.errors import RequestError, SinkscopeError
from sinkscope.intervals.draws import draws
from sinkscope.intervals.limits import seeds_needed
from sinkscope.intervals.sample import Sample
from sinkscope.quantities.rows import compared
from sinkscope.report.comparison.sentences import manner, outcomes
from sinkscope.tables.run_folder import Run

SMALL: dict[str, Any] = {"draws": 200}
FIRST = synthetic(Shape(4, 4, 2, sequences=12))
SECOND = synthetic(Shape(4, 4, 2, sequences=12, seed=1))


def row(run: Run, metric: str, name: str) -> dict[str, Any]:
    table = run["comparison"]
    (found,) = table[(table["metric"] == metric) & (table["run"] == name)].to_dict("records")
    return found


def altered(run: Run, room: str, **values: Any) -> Run:
    return replace(run, info={**run.info, room: {**run.info[room], **values}})


def scaled(run: Run, factor: float) -> Run:
    """The run with all per-sequence values multiplied."""
    table = run["sequences"]
    return replace(run, tables={**run.tables, "sequences": table.assign(value=table["value"] * factor)})


def trained(run: Run, sha: str) -> Run:
    return altered(run, "model", weights_sha256=sha)


def test_a_row_per_metric_and_run() -> None:
    run = compare_runs([FIRST, SECOND, FIRST], ["a", "b", "c"], **SMALL)
    table = run["comparison"]
    assert list(table["metric"].unique()) == [metric.name for metric in compared()]
    assert list(table["run"]) == ["a", "b", "c"] * len(compared())
    assert run.info["kind"] == "comparison"
    assert run.info["reference"] == "a"


def test_values_and_ratios_are_those_of_the_runs() -> None:
    run = compare_runs([FIRST, SECOND], ["a", "b"], **SMALL)
    for metric in compared():
        a, b = row(run, metric.name, "a"), row(run, metric.name, "b")
        if metric.over_layers is not None:
            assert a["value"] == metric.over_layers(Sample(FIRST))[0]
        elif metric.headline:
            assert a["value"] == FIRST.info["headline"][metric.name]
        if metric.judged:
            assert b["ratio"] == pytest.approx(b["value"] / a["value"], rel=1e-12), metric.name
        else:
            assert np.isnan(b["ratio"])
            assert b["verdict"] in ("not judged", "not measured")
        assert a["verdict"] in ("reference", "not measured")


def test_intervals_agree_with_resampling_by_hand() -> None:
    run = compare_runs([FIRST, SECOND], ["a", "b"], draws=300, seed=7)
    values = []
    for each in (FIRST, SECOND):
        table = each["sequences"].query("metric == 'h_out_t0'")
        values.append(table.pivot(index="sequence", columns="layer", values="value").to_numpy(dtype=float))
    slow = []
    for weights in np.concatenate(list(draws(12, 300, 7, 0, 0))):
        numbers = np.repeat(np.arange(12), weights.astype(int))
        slow.append([matrix[numbers].mean(0).mean() for matrix in values])
    means = np.array(slow)
    found = row(run, "residual_t0_mean", "b")
    for name, resampled in (("", means[:, 1]), ("ratio_", means[:, 1] / means[:, 0])):
        half = np.exp(stats.t.ppf(0.975, 11) * np.sqrt(12 / 11) * np.log(resampled).std())
        value = found[name.strip("_") or "value"]
        assert found[f"{name}low"] == pytest.approx(value / half, rel=1e-5)
        assert found[f"{name}high"] == pytest.approx(value * half, rel=1e-5)


def test_a_run_against_itself_is_unchanged_without_width() -> None:
    run = compare_runs([FIRST, FIRST], ["a", "b"], **SMALL)
    for metric in compared():
        found = row(run, metric.name, "b")
        if metric.over_layers is not None and metric.judged:
            assert (found["ratio_low"], found["ratio"], found["ratio_high"]) == (1, 1, 1), metric.name
            assert found["verdict"] == "unchanged"


def test_what_no_text_changes_has_no_interval_and_no_verdict() -> None:
    """Token 0 that is the same token everywhere: 512 (512-512) from one training each says nothing of another."""
    runs = []
    for factor in (1.0, 0.25):
        table = FIRST["sequences"]
        still = table["metric"] == "h_out_t0"
        runs.append(replace(FIRST, tables={**FIRST.tables, "sequences": table.assign(
            value=table["value"].mask(still, 512.0 * factor))}))  # fmt: skip
    run = compare_runs(runs, ["a", "b"], **SMALL)
    found = row(run, "residual_t0_mean", "b")
    assert found["ratio"] == 0.25
    assert np.isnan([found["low"], found["high"], found["ratio_low"], found["ratio_high"]]).all()
    assert found["verdict"] == "no interval"
    assert row(run, "residual_t0_over_early", "b")["verdict"] == "suppressed"  # its other half varies
    assert "depend on no text" in manner(run)


def test_of_perplexity_the_words_are_of_value() -> None:
    runs = []
    for shift in (0.0, 0.05, 0.5, -0.5):
        table = FIRST["sequences"]
        loss = (table["metric"] == "loss").to_numpy(dtype=float)
        noise = 0.01 * np.random.default_rng(int(100 * (shift + 1))).normal(size=len(table))
        runs.append(replace(FIRST, tables={**FIRST.tables, "sequences": table.assign(
            value=table["value"] + (shift + noise) * loss)}))  # fmt: skip
    run = compare_runs(runs, ["a", "b", "c", "d"], **SMALL)
    words = [row(run, "perplexity", name)["verdict"] for name in "bcd"]
    assert words == ["worse, size unclear", "worse", "better"]
    assert outcomes(run)[1].startswith("c - worse: perplexity")


def test_on_the_same_windows_runs_are_paired() -> None:
    """What sequences have in common cancels: a run and its double differ by exactly 2 in every draw."""
    run = compare_runs([FIRST, scaled(FIRST, 2.0)], ["a", "b"], **SMALL)
    found = row(run, "residual_t0_mean", "b")
    assert found["ratio_low"] == pytest.approx(2)
    assert found["ratio_high"] == pytest.approx(2)
    assert found["verdict"] == "grown"
    assert run.info["paired"]


def test_other_windows_are_refused_or_unpaired() -> None:
    other = altered(scaled(FIRST, 2.0), "data", sha256="9" * 64)
    with pytest.raises(SinkscopeError, match=r"data \(sha256 fedcba98 and 99999999 .* of a and b.*`allow_mismatch`"):
        compare_runs([FIRST, other], ["a", "b"], **SMALL)
    run = compare_runs([FIRST, other], ["a", "b"], allow_mismatch=True, **SMALL)
    found = row(run, "residual_t0_mean", "b")
    assert found["ratio_low"] < 1.99 < 2.01 < found["ratio_high"]
    assert not run.info["paired"]
    assert len(run.info["mismatches"]) == 1


@pytest.mark.parametrize(
    ("room", "values", "words"),
    [
        ("settings", {"sink_epsilon": 0.2}, r"setting sink_epsilon \(0.3 and 0.2\)"),
        ("settings", {"backward": False}, r"setting backward"),
        ("data", {"tokens": 99}, r"tokens \(64 and 99\)"),
        ("data", {"sha256": None}, "not known to be the same"),
        ("conventions", {"kurtosis": "excess"}, "convention of kurtosis"),
    ],
)
def test_what_differs_is_named(room: str, values: dict[str, Any], words: str) -> None:
    with pytest.raises(SinkscopeError, match=words) as refusal:
        compare_runs([FIRST, altered(SECOND, room, **values)], ["a", "b"], **SMALL)
    assert isinstance(refusal.value, RequestError)


def test_the_batch_size_may_differ() -> None:
    run = compare_runs([FIRST, altered(SECOND, "settings", batch_size=8)], ["a", "b"], **SMALL)
    assert run.info["mismatches"] == []


def test_other_layer_counts_are_compared_by_depth_and_said() -> None:
    run = compare_runs([FIRST, synthetic(Shape(2, 4, 2, sequences=12)), synthetic(Shape(1, 4, 2, sequences=12))],
                       ["a", "b", "c"], **SMALL)  # fmt: skip
    assert run.info["layers_differ"]
    depth = run["compared_layers"].groupby("run")["depth"].apply(list)
    assert depth["a"] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert (depth["b"], depth["c"]) == ([0, 1], [0])


def test_forward_runs_have_no_gradient_metrics() -> None:
    forward = [synthetic(Shape(4, 4, 2, sequences=12, seed=seed, backward=False)) for seed in (0, 1)]
    run = compare_runs(forward, ["a", "b"], **SMALL)
    assert row(run, "gradient_sink_median", "b")["verdict"] == "not measured"
    assert not run.backward


def test_metrics_without_intervals_say_so() -> None:
    run = compare_runs([FIRST, SECOND], ["a", "b"], **SMALL)
    for name in ("kurtosis_max", "abs_max", "massive_count", "value_drain"):
        found = row(run, name, "b")
        assert np.isnan([found["low"], found["high"], found["ratio_low"], found["ratio_high"]]).all()
        assert found["verdict"] == "no interval"
    none = compare_runs([changed(FIRST, massive_count=0), SECOND], ["a", "b"], **SMALL)
    assert np.isnan(row(none, "massive_count", "b")["ratio"])


def test_seeds_are_averaged_and_their_spread_makes_the_interval() -> None:
    factors = {"a": (1.0, 1.1, 0.9), "b": (0.5, 0.55, 0.6)}
    runs, names = [], []
    for name, each in factors.items():
        for number, factor in enumerate(each):
            runs.append(trained(scaled(FIRST, factor), f"{name}{number}" * 32))
            names.append(name)
    run = compare_runs(runs, names, **SMALL)
    single = Sample(FIRST).means("h_out_t0").mean()
    found = row(run, "residual_t0_mean", "b")
    assert found["value"] == pytest.approx(single * 0.55)
    assert found["ratio"] == pytest.approx(0.55)
    # Paired draws cancel, so by hand: t with 2 degrees of freedom on the two squared relative standard errors.
    error = np.sqrt(sum(np.var(each, ddof=1) / 3 / np.mean(each) ** 2 for each in factors.values()))
    assert found["ratio_low"] == pytest.approx(0.55 * np.exp(-4.302653 * error), rel=1e-6)
    assert found["ratio_high"] == pytest.approx(0.55 * np.exp(4.302653 * error), rel=1e-6)
    assert found["verdict"] == "suppressed"
    assert [entry["seeds"] for entry in run.info["runs"]] == [3, 3]
    assert sorted(run["compared_layers"]["seed"].unique()) == [0, 1, 2]


def test_pairs_of_seeds_cancel_what_they_share() -> None:
    """By hand: the residuals of each pair, Student's t with one degree of freedom less than pairs."""
    a, b = np.array([1.0, 1.3, 0.8]), np.array([0.5, 0.66, 0.42])
    runs = [trained(scaled(FIRST, factor), f"{factor}" * 16) for factor in (*a, *b)]
    names = ["a"] * 3 + ["b"] * 3
    found = row(compare_runs(runs, names, paired_seeds=True, **SMALL), "residual_t0_mean", "b")
    residuals = b / b.mean() - a / a.mean()
    half = 4.302653 * np.sqrt(residuals.var(ddof=1) / 3)
    ratio = b.mean() / a.mean()
    assert found["ratio_low"] == pytest.approx(ratio * np.exp(-half), rel=1e-6)
    assert found["ratio_high"] == pytest.approx(ratio * np.exp(half), rel=1e-6)
    assert found["verdict"] == "suppressed"
    unpaired = row(compare_runs(runs, names, **SMALL), "residual_t0_mean", "b")
    assert unpaired["ratio"] == found["ratio"]
    assert unpaired["ratio_low"] < found["ratio_low"]
    assert unpaired["verdict"] == "unclear"


def test_seeds_needed_are_the_first_whose_interval_leaves_out_one_four_times_in_five() -> None:
    a, b = (1.0, 1.3, 0.8), (0.8, 0.7, 0.95)
    runs = [trained(scaled(FIRST, factor), f"{factor}" * 16) for factor in (*a, *b)]
    run = compare_runs(runs, ["a"] * 3 + ["b"] * 3, **SMALL)
    found = row(run, "residual_t0_mean", "b")
    assert found["verdict"] == "unclear"
    needed = int(found["seeds_needed"])
    of_one = sum(np.var(side, ddof=1) / np.mean(side) ** 2 for side in (a, b))
    reach = [
        abs(np.log(found["ratio"])) - (stats.t.ppf(0.975, n - 1) + stats.norm.ppf(0.8)) * np.sqrt(of_one / n)
        for n in (needed - 1, needed)
    ]
    assert reach[0] <= 0 < reach[1]
    assert any("residual norm at token 0" in said and f" {needed}" in said for said in outcomes(run) if "Seeds" in said)
    assert np.isnan(row(compare_runs([FIRST, SECOND], ["x", "y"], **SMALL), "residual_t0_mean", "y")["seeds_needed"])
    assert np.isnan(seeds_needed(1.0, 0.1, 0.0))


@pytest.mark.parametrize(
    ("names", "words"), [(["a", "b"], "several runs of each name"), (["a", "a", "b"], "there are 2 of a, 1 of b")]
)
def test_pairs_need_as_many_runs_of_each_name(names: list[str], words: str) -> None:
    runs = [trained(scaled(FIRST, 1 + 0.1 * number), f"{number}" * 64) for number in range(len(names))]
    with pytest.raises(SinkscopeError, match=words):
        compare_runs(runs, names, paired_seeds=True, **SMALL)


def test_seeds_give_intervals_to_metrics_that_sequences_cannot() -> None:
    runs = [trained(changed(FIRST, kurtosis_max=k), f"{k:.0f}" * 32) for k in (10.0, 11.0, 12.0, 30.0, 31.0, 32.0)]
    found = row(compare_runs(runs, ["a"] * 3 + ["b"] * 3, **SMALL), "kurtosis_max", "b")
    assert 2 < found["ratio_low"] < found["ratio"] < found["ratio_high"] < 4
    assert found["verdict"] == "grown"


def test_a_single_run_against_seeds_has_no_interval() -> None:
    runs = [trained(scaled(FIRST, factor), f"{factor}" * 20) for factor in (1.0, 1.1, 1.2)]
    run = compare_runs([*runs, trained(SECOND, "b" * 64)], ["a", "a", "a", "b"], **SMALL)
    assert row(run, "residual_t0_mean", "b")["verdict"] == "no interval"
    assert not np.isnan(row(run, "residual_t0_mean", "a")["low"])


def test_seeds_must_be_seeds() -> None:
    with pytest.raises(SinkscopeError, match="two runs of a have the same weights"):
        compare_runs([FIRST, FIRST, SECOND], ["a", "a", "b"], **SMALL)
    with pytest.raises(SinkscopeError, match=r"no seeds of one model, their layers differs \(2, 4\)"):
        compare_runs([FIRST, synthetic(Shape(2, 4, 2, sequences=12)), SECOND], ["a", "a", "b"], **SMALL)


def test_bad_requests_are_refused() -> None:
    compared = compare_runs([FIRST, SECOND], ["a", "b"], **SMALL)
    without = replace(SECOND, tables={name: table for name, table in SECOND.tables.items() if name != "values"})
    old = replace(SECOND, info={**SECOND.info, "schema": 0})
    for runs, names, options, words in (
        ([FIRST], ["a"], {}, "at least two runs"),
        ([FIRST, trained(SECOND, "b")], ["a", "a"], {}, "at least two runs of different names"),
        ([FIRST, compared], ["a", "b"], {}, "b is a run of kind comparison"),
        ([FIRST, without], ["a", "b"], {}, "b lacks the table values"),
        ([FIRST, old], ["a", "b"], {}, "b has schema 0"),
        ([FIRST, SECOND], ["a", "b"], {"margin": 1.0}, "margin"),
        ([FIRST, SECOND], ["a", "b"], {"draws": 10}, "draws"),
    ):
        with pytest.raises(SinkscopeError, match=words):
            compare_runs(runs, names, **{**SMALL, **options})


def test_the_same_comparison_twice_is_the_same() -> None:
    one, two = (compare_runs([FIRST, SECOND], ["a", "b"], **SMALL) for _ in range(2))
    for name in one.tables:
        assert one[name].equals(two[name])
    other = compare_runs([FIRST, SECOND], ["a", "b"], seed=1, **SMALL)
    assert not one["comparison"].equals(other["comparison"])


def test_notes_are_kept() -> None:
    assert compare_runs([FIRST, SECOND], ["a", "b"], notes=["One thing changed."], **SMALL).info["notes"] == [
        "One thing changed."
    ]


METHOD: dict[str, Any] = {
    "weight_bits": 8, "activation_bits": 8, "granularity": "W per channel, A per tensor", "modules": None,
    "calibration": {"source": "stdlib", "skipped_documents": 0, "sequences": 4, "tokens": 256, "bos": False,
                    "sha256": "c" * 64},
}  # fmt: skip


def test_one_model_under_several_methods_is_said_to_be_one() -> None:
    plain = trained(FIRST, "a" * 64)
    static = altered(trained(SECOND, "a" * 64), "model", quantization="w8a8-static", method=METHOD)
    other = trained(SECOND, "b" * 64)
    run = compare_runs([plain, static, other], ["plain", "static", "other"], **SMALL)
    assert run.info["mismatches"] == []
    assert run.info["notes"][0] == (
        "The weights of plain and static are the same (sha256 aaaaaaaa): plain as they are, static under w8a8-static "
        "(calibrated on 4 x 256 tokens of stdlib)."
    )
    assert "same" not in " ".join(compare_runs([plain, other], ["plain", "other"], **SMALL).info["notes"])
    with pytest.raises(RequestError, match="no seeds of one model, their quantization differs"):
        compare_runs([plain, static, other], ["x", "x", "other"], **SMALL)
