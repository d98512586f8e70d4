"""The table `paired` by hand: differences of changes, sequence by sequence, and only where windows are the same."""

import numpy as np
import pandas as pd
import pytest

from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.quantization.changes import paired

COUNTS = np.full(12, 10.0)
HARD = np.random.default_rng(0).normal(20, 5, 12)  # what makes a text hard is the same for all
SUMS = {
    ("a", "none"): HARD,
    ("a", "w8"): HARD + np.linspace(0.1, 0.3, 12),
    ("a", "nf4"): HARD + np.linspace(0.2, 0.6, 12),
    ("b", "none"): HARD + 1,
    ("b", "w8"): HARD + 1 + np.linspace(0.3, 0.5, 12),
    ("b", "nf4"): HARD + 1 + np.linspace(0.2, 0.6, 12),
}
LOSSES = pd.concat(
    pd.DataFrame(
        {
            "model": model,
            "method": method,
            "sequence": range(12),
            "loss_sum": sums,
            "targets": COUNTS,
            "mitigation": "none",
        }
    )
    for (model, method), sums in SUMS.items()
)


def test_rows_are_differences_of_changes() -> None:
    table = paired(LOSSES, {"a": "same", "b": "same"}, seed=0)
    keys = list(zip(table["model"], table["method"], table["other_model"], table["other_method"], strict=True))
    assert keys == [
        ("b", "none", "a", "none"), ("a", "w8", "a", "nf4"), ("b", "w8", "a", "w8"), ("b", "nf4", "a", "nf4"),
        ("b", "w8", "b", "nf4"),
    ]  # fmt: skip
    as_loaded, *changes = table.to_dict("records")
    assert as_loaded["difference"] == pytest.approx(0.1)  # one nat in every sequence of 10 targets
    for row, (model, method, other_model, other_method) in zip(changes, keys[1:], strict=True):
        one, other = (
            SUMS[model, method] - SUMS[model, "none"],
            SUMS[other_model, other_method] - SUMS[other_model, "none"],
        )
        assert row["difference"] == pytest.approx((one - other).sum() / COUNTS.sum())
        ends = ratio_interval(one - other, COUNTS, seed=0)
        assert (row["difference_low"], row["difference_high"]) == pytest.approx(ends)
    between = table.set_index(["model", "method"]).loc[("b", "w8")].iloc[0]
    assert between["difference_low"] == pytest.approx(0.02)  # 0.2 nats in every sequence of 10 targets


def test_mitigations_are_set_against_each_other_under_one_method() -> None:
    """And methods under one mitigation: two changes that differ in both say nothing of either."""
    sums = {("w8", "keep"): 0.2, ("nf4", "keep"): 0.1, ("none", "keep"): 0.05}
    more = [
        LOSSES[(LOSSES["model"] == model) & (LOSSES["method"] == "none")].assign(
            method=method, mitigation=mitigation, loss_sum=SUMS[model, "none"] + change
        )
        for model in "ab"
        for (method, mitigation), change in sums.items()
    ]
    table = paired(pd.concat([LOSSES, *more]), {"a": "same", "b": "same"}, seed=0)
    of_a = table[(table["model"] == "a") & (table["other_model"] == "a")]
    columns = ["method", "mitigation", "other_method", "other_mitigation"]
    assert set(map(tuple, of_a[columns].to_numpy().tolist())) == {
        ("w8", "none", "nf4", "none"), ("w8", "none", "w8", "keep"), ("nf4", "none", "nf4", "keep"),
        ("w8", "keep", "nf4", "keep"),
    }  # fmt: skip
    row = of_a[(of_a["method"] == "w8") & (of_a["other_method"] == "w8")].iloc[0]
    won = SUMS["a", "w8"] - (SUMS["a", "none"] + 0.2)
    assert row["difference"] == pytest.approx(won.sum() / COUNTS.sum())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx(ratio_interval(won, COUNTS, seed=0))
    between = table[(table["model"] == "b") & (table["other_model"] == "a")]
    assert (between["mitigation"] == between["other_mitigation"]).all()
    kept = between[(between["method"] == "none") & (between["mitigation"] == "keep")]
    assert kept["difference"].tolist() == pytest.approx([0.0])  # of changes, not of losses


def test_models_of_other_windows_are_not_set_against_each_other() -> None:
    table = paired(LOSSES, {"a": "one", "b": "other"}, seed=0)
    assert (table["model"] == table["other_model"]).all()
    assert len(table) == 2
