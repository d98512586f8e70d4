"""The report of a comparison: legible for two and for eight runs, and true to its table."""

import io
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from inspection import assert_legible, drawn_quietly, words
from matplotlib.figure import Figure
from rich.console import Console
from synthetic import Shape, synthetic

from sinkscope.comparison.compare_runs import compare_runs
from sinkscope.errors import SinkscopeError
from sinkscope.report.comparison import front_page, theta
from sinkscope.report.comparison.runs import SHOWN, members, sides_of
from sinkscope.report.comparison.terminal import summary
from sinkscope.report.entry import Entry
from sinkscope.report.kinds import KINDS, kind_of
from sinkscope.report.render import entries, figures
from sinkscope.tables.run_folder import Run

LONG = "/folder/" + "averylongname" * 5 + "/$x$ \u6f22\nname "


def compared(shapes: list[Shape], names: list[str] | None = None, **options: Any) -> Run:
    runs = []
    for number, shape in enumerate(shapes):
        run = synthetic(replace(shape, seed=number), name=f"example/model-{number}")
        model = {**run.info["model"], "weights_sha256": f"{number:x}" * 64}
        runs.append(replace(run, info={**run.info, "model": model}))
    return compare_runs(runs, names or [f"run {number}" for number in range(len(runs))], draws=100, **options)


def quantized(models: list[str], methods: list[str], deltas: float = 0.3) -> Run:
    """A made-up quantization run with the columns that a comparison reads."""
    rows = [
        {"model": model, "method": method, "loss": 2 + deltas * m, "perplexity": 7.4 + m, "windows": "abc",
         "delta": deltas * m, "delta_low": (0.9 * deltas * m) or np.nan, "delta_high": (1.1 * deltas * m) or np.nan}
        for model in models for m, method in enumerate(methods)
    ]  # fmt: skip
    return Run({"kind": "quantization"}, {"quantization": pd.DataFrame(rows)})


METHODS = ["none", "w8a8_dynamic", "w8a8_static", "w8a8_static_down_proj", "nf4", "int8", "gptq_w4a16", "awq_w4a16"]
NOTES = ["Between the two V-scale was added, and nothing else changed.", "The control without it moved by 0.1 %. " * 5]
RUNS = {
    "two": compared([Shape(8, 4, 2), Shape(8, 4, 2, vscale=True)], notes=NOTES),
    "eight_long": compared([Shape(8, 4, 2, vscale=n > 0) for n in range(8)], [f"{LONG}{n}" for n in range(8)]),
    "one_layer_forward": compared([Shape(1, 1, 1, tokens=8, sequences=1, sinks=False, backward=False)] * 2),
    "depths": compared([Shape(40, 4, 2), Shape(3, 4, 2), Shape(1, 4, 2)]),
    "quantized": compared([Shape(4, 4, 2, backward=False)] * 2,
                          quantized={"q": quantized(["run 0", LONG], METHODS)}),
    "mismatch": compared([Shape(4, 4, 2, sequences=3), Shape(4, 4, 2, tokens=48)], allow_mismatch=True, notes=NOTES),
}  # fmt: skip
SLOW = {
    "seeds": lambda: compared([Shape(4, 4, 2, vscale=n >= 3) for n in range(9)], [f"name {n // 3}" for n in range(9)]),
    "large": lambda: compared([Shape(80, 16, 8, vscale=True)] * 2, [f"{n} {LONG}" for n in range(2)]),
    "two_tokens": lambda: compared([Shape(2, 2, 1, tokens=2)] * 5),
}


@cache
def drawn(name: str) -> dict[str, Figure]:
    """The pages of one of `RUNS`, drawn once for all tests."""
    return drawn_quietly(RUNS[name])


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "eight_long" else ()) for n in RUNS])
def test_pages_are_legible(name: str) -> None:
    assert_legible(RUNS[name], drawn(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more_pages_are_legible(name: str) -> None:
    assert_legible(SLOW[name]())


@pytest.mark.parametrize("entry", entries(RUNS["two"]), ids=lambda entry: entry.name)
def test_every_axis_is_labelled_where_something_is_plotted(entry: Entry) -> None:
    page = entry.draw(RUNS["two"])
    drawn = [axes for axes in page.axes if axes.axison and axes.get_label() != "<colorbar>"]
    cells = [(axes, axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start) for axes in drawn]
    assert {row for _, row, _ in cells} == {
        row for axes, row, _ in cells if axes.get_ylabel() or axes.get_yticklabels()
    }
    assert {column for _, _, column in cells} == {column for axes, _, column in cells if axes.get_xlabel()}


def test_first_page_prints_the_table() -> None:
    run = RUNS["two"]
    printed = words(front_page.ENTRY.draw(run))
    row = run.info["headline"]["residual_t0_mean"]["run 1"]
    assert f"x {row['ratio']:.3g}" in printed
    assert NOTES[0] in printed
    assert "paired" in printed
    for text in (row["verdict"], "reference", "1/1.25 to 1.25"):
        assert text in printed


def test_runs_measured_differently_are_flagged_on_every_page() -> None:
    run = RUNS["mismatch"]
    for name, page in drawn("mismatch").items():
        assert "NOT MEASURED ALIKE" in words(page), name
    assert "unpaired" in words(front_page.ENTRY.draw(run))
    assert not any("NOT MEASURED ALIKE" in words(page) for page in drawn("two").values())


def test_many_notes_and_differences_leave_room_for_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "comparison", replace(KINDS["comparison"], figures=(front_page.ENTRY,)))
    shapes = [Shape(2, 2, 1, tokens=12 + n, sequences=2 + n, backward=n % 2 == 0) for n in range(8)]
    run = compared(shapes, allow_mismatch=True, notes=NOTES * 10)
    assert len(run.info["mismatches"]) > 14
    printed = words(front_page.ENTRY.draw(run))
    assert "more, in run.json" in printed
    assert "More notes stand in run.json" in printed
    assert_legible(run)


def test_other_depths_are_said() -> None:
    run = RUNS["depths"]
    assert "curves stand over relative depth" in words(front_page.ENTRY.draw(run))
    labels = {axes.get_xlabel() for axes in drawn("depths")["by_layer"].axes}
    assert labels == {"relative depth"}


def test_eight_runs_are_told_apart_by_three_means() -> None:
    shown = sides_of(RUNS["eight_long"])
    assert len(shown) == SHOWN == 8
    for part in ("colour", "marker", "number"):
        assert len({getattr(side, part) for side in shown}) == 8, part
    assert all("LONG" not in side.label(60) and side.label(60).startswith(str(side.number)) for side in shown)


def test_a_ninth_run_is_in_the_tables_and_announced() -> None:
    run = compared([Shape(2, 2, 1)] * 9)
    assert run["comparison"]["run"].nunique() == 9
    assert kind_of(run).subtitle(run).startswith("the first 8 of 9 runs")


def test_gradient_pages_are_left_out_of_forward_runs() -> None:
    names = {entry.name for entry in entries(RUNS["one_layer_forward"])}
    assert names.isdisjoint({"gradient_sinks", "reshaping_attn", "reshaping_mlp", "theta"})
    assert {"comparison", "ratios", "by_layer", "values", "paper", "provenance"} <= names


def test_quantization_stands_side_by_side_as_it_was_measured() -> None:
    run = RUNS["quantized"]
    given = quantized(["run 0", LONG], METHODS)["quantization"]
    table = run["compared_quantization"]
    assert table["run"].unique().tolist() == ["q"]
    for column in ("model", "method", "loss", "perplexity", "delta", "delta_low", "delta_high"):
        assert table[column].equals(given[column].astype(table[column].dtype)), column
    printed = words(drawn("quantized")["quantization"])
    assert "8.40, +0.3" in printed


def test_quantization_on_other_windows_is_refused_or_flagged() -> None:
    other = quantized(["run 1"], METHODS)
    other = Run(other.info, {"quantization": other["quantization"].assign(windows="def")})
    both = {"q": quantized(["run 0"], METHODS), "r": other}
    with pytest.raises(SinkscopeError, match=r"windows of quantization \(abc, def\) of q, r"):
        compared([Shape(2, 2, 1)] * 2, quantized=both)
    run = compared([Shape(2, 2, 1)] * 2, quantized=both, allow_mismatch=True)
    assert "windows of quantization" in kind_of(run).subtitle(run)


def test_quantization_of_the_same_tokens_cut_otherwise_is_refused() -> None:
    other = quantized(["run 1"], METHODS)
    cut = {**other.info, "data": {**other.info.get("data", {}), "sequences": 99}}
    both = {"q": quantized(["run 0"], METHODS), "r": Run(cut, other.tables)}
    with pytest.raises(SinkscopeError, match=r"sequences of quantization \(None and 99\) of q, r"):
        compared([Shape(2, 2, 1)] * 2, quantized=both)


def test_every_measured_run_has_its_provenance() -> None:
    run = compared([Shape(2, 2, 1)] * 10, [f"name {n // 5}" for n in range(10)])
    pages = figures(run)
    printed = words(pages["provenance"]) + words(pages["provenance_2"])
    for number in range(10):
        assert f"example/model-{number}" in printed


def test_terminal_summary_prints_as_text_and_through_rich() -> None:
    run = RUNS["mismatch"]
    buffer = io.StringIO()
    Console(file=buffer, width=90).print(summary(run))
    for text in (str(summary(run)), buffer.getvalue()):
        assert "Residual norm" in text
        assert "not measured alike" in " ".join(text.split())
    row = run.info["headline"]["residual_t0_mean"]["run 1"]
    assert row["verdict"] in str(summary(run))


def test_a_layer_without_theta_leaves_the_others_in_their_places() -> None:
    run = RUNS["two"]
    table = run["compared_vscale"]
    (side,) = [side for side in sides_of(run) if len(members(run, "compared_vscale", side))]

    def shown(values: "pd.Series[float]") -> Run:
        return Run(run.info, {**run.tables, "compared_vscale": table.assign(theta=values)})

    whole, holed = (
        theta._means(shown(values), side)
        for values in (table["theta"], table["theta"].where(table["layer"] != 1, np.nan))
    )
    assert whole is not None
    assert holed is not None
    assert np.isnan(holed[:, 1]).all()
    assert np.array_equal(np.delete(holed, 1, axis=1), np.delete(whole, 1, axis=1))
    assert not theta.ENTRY.applies(shown(table["theta"] * np.nan))
