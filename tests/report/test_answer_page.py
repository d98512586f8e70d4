"""The answer page: every sentence follows from its rule, every cell from the tables, and the page is legible."""

from typing import Any

import numpy as np
import pytest
from inspection import assert_legible, words
from test_quantization import run as plain_run

from sinkscope.intervals.loss_bootstrap import ratio_interval
from sinkscope.quantization.changes import change, paired
from sinkscope.report.html.document import document
from sinkscope.report.quantization import answer, damage, remains
from sinkscope.report.quantization.mitigated import (
    BETTER,
    UNCLEAR,
    WORSE,
    answers,
    choices,
    formats_of,
    grid,
    pair_grid,
    shares,
)
from sinkscope.report.quantization.terminal import summary
from sinkscope.tables.builder import Rows
from sinkscope.tables.run_folder import Run

SEQUENCES, TARGETS = 12, 100.0
HARD = np.random.default_rng(0).normal(200, 30, SEQUENCES)
WAVE = np.linspace(-1, 1, SEQUENCES)
COSTS: dict[tuple[str, str], tuple[float, float]] = {  # nats per target, and how much of it varies between sequences
    ("none", "none"): (0.0, 0.0),
    ("static", "none"): (0.9, 0.1),
    ("dynamic", "none"): (0.001, 0.02),
    ("none", "rotate"): (1e-7, 0.0),
    ("static", "rotate"): (0.05, 0.02),
    ("dynamic", "rotate"): (0.001, 0.021),
    ("none", "prefix"): (-0.02, 0.005),
    ("static", "prefix"): (0.3, 0.05),
    ("dynamic", "prefix"): (-0.018, 0.021),
    ("static", "clip"): (1.4, 0.15),
    ("static", "keep"): (0.051, 0.03),
    ("dynamic", "keep"): (0.0009, 0.0205),
}
CHOSE = {"keep": "layer 1's down_proj", "prefix": "'<s>'", "rotate": "stream: Hadamard, 64"}


def made(models: tuple[str, ...] = ("demo",), costs: Any = None) -> Run:
    """A run whose losses are made up and whose tables are computed from them, as those of a real one."""
    costs = COSTS if costs is None else costs
    rows = {name: Rows(name) for name in ("quantization", "losses", "mitigation_sites")}
    for number, model in enumerate(models):
        for (method, mitigation), (mean, spread) in costs.items():
            sums = HARD + TARGETS * (mean * (1 + number) + spread * WAVE * (-1) ** number)
            rows["losses"].add(model=model, method=method, sequence=range(SEQUENCES), loss_sum=sums, targets=100,
                               mitigation=mitigation)  # fmt: skip
        for mitigation in ("none", "rotate", "prefix"):
            for site in ("self_attn.q_proj", "mlp.down_proj"):
                rows["mitigation_sites"].add(model=model, mitigation=mitigation, layer=0, site=site, module=site,
                                             abs_max=30.0 if mitigation == "none" else 3.0, kurtosis=5.0)  # fmt: skip
    losses = rows["losses"].frame()
    groups = {key: part for key, part in losses.groupby(["model", "method", "mitigation"], sort=False)}  # noqa: C416
    for (model, method, mitigation), part in groups.items():
        found = change(part, groups[model, "none", "none"], seed=0)
        against = change(part, groups[model, method, "none"], seed=0) if mitigation != "none" else {}
        loss = part["loss_sum"].sum() / part["targets"].sum()
        rows["quantization"].add(
            model=model, method=method, weight_bits=8.0, activation_bits=8.0, granularity="W per channel", loss=loss,
            loss_low=loss, loss_high=loss, perplexity=np.exp(loss), **found, windows="abc", mitigation=mitigation,
            mitigation_chose=CHOSE.get(mitigation, ""),
            **{f"against_unmitigated{end}": against.get(f"delta{end}", np.nan) for end in ("", "_low", "_high")},
        )  # fmt: skip
    base = plain_run(list(models), ["none", "static", "dynamic"])
    tables = {**base.tables, **{name: of.frame() for name, of in rows.items()}}
    tables["paired"] = paired(losses, dict.fromkeys(models, "same"), seed=0)
    base.info["settings"] |= {"seed": 0, "mitigate": ["none", *dict.fromkeys(m for _, m in costs if m != "none")]}
    return Run(base.info, tables)


def test_a_share_is_the_ratio_of_what_is_won_to_the_cost() -> None:
    run = made()
    found = {share.mitigation: share for share in shares(run, "demo", "static")}
    assert list(found) == ["rotate", "keep", "prefix", "clip"]  # most first
    sums = {mitigation: TARGETS * (mean + spread * WAVE) for (method, mitigation), (mean, spread) in COSTS.items()
            if method == "static"}  # fmt: skip
    for name, share in found.items():
        won = sums["none"] - sums[name]
        assert share.value == pytest.approx(won.sum() / sums["none"].sum())
        assert (share.low, share.high) == pytest.approx(ratio_interval(won, sums["none"], seed=0))
    assert found["rotate"].value == pytest.approx(0.85 / 0.9)


def test_the_sentence_says_what_wins_back_how_much() -> None:
    sentence, prefix = answers(made())
    assert sentence.startswith("static costs +0.9000 nats per token (")
    share = r"94 % ("
    assert f"; rotate wins back {share}" in sentence
    assert "keeping layer 1's down_proj unquantized 94 % (" in sentence
    assert ", not told apart; prefix ('<s>') 67 % (" in sentence
    assert sentence.endswith("clip makes it worse.")
    assert "dynamic costs" not in sentence  # its interval holds zero: no cost, no share
    assert prefix.startswith("prefix by itself changes the unquantized loss by -0.0200 (")


def test_differences_that_can_be_told_are_told() -> None:
    costs = {**COSTS, ("static", "keep"): (0.2, 0.02), ("static", "clip"): (0.9, 0.3)}
    sentence = answers(made(costs=costs))[0]
    assert "rotate wins back 94 %" in sentence
    assert "not told apart" not in sentence
    assert "; keeping layer 1's down_proj unquantized 78 % (" in sentence
    assert sentence.endswith("no difference can be told for clip.")


def test_nothing_is_said_without_an_interval_that_holds() -> None:
    nothing = {key: (mean if key[1] == "none" else 1.0, 4.0) for key, (mean, _) in COSTS.items() if key[0] != "none"}
    costs = {("none", "none"): (0.0, 0.0), **nothing}
    (said,) = answers(made(costs=costs))
    assert said == "no cost can be told from zero for static, dynamic: there is nothing to win back."
    worse = {("none", "none"): (0.0, 0.0), ("static", "none"): (0.5, 0.1), ("static", "clip"): (0.5, 0.5)}
    assert (
        "nothing that was tried wins any of it back; no difference can be told for clip."
        in answers(made(costs=worse))[0]
    )


def test_cells_are_those_of_the_table() -> None:
    run = made()
    cells = grid(run, "demo")
    assert formats_of(run) == ["none", "static", "dynamic"]
    assert cells["rotate", "static"].told == cells["keep", "static"].told == BETTER
    assert cells["clip", "static"].told == WORSE
    assert cells["keep", "dynamic"].told == cells["rotate", "none"].told == UNCLEAR
    assert {name for (name, method), cell in cells.items() if method == "static" and cell.best} == {"rotate", "keep"}
    assert ("clip", "dynamic") not in cells
    assert ("none", "none") not in cells
    row = run["quantization"].set_index(["method", "mitigation"]).loc[("static", "prefix")]
    cell = cells["prefix", "static"]
    assert (cell.delta, cell.low, cell.high) == (row["delta"], row["delta_low"], row["delta_high"])


def test_what_was_chosen_stands_below_the_grid() -> None:
    assert choices(made()) == ["rotate: stream: Hadamard, 64", "prefix: '<s>'", "keep: layer 1's down_proj"]
    assert choices(made(("demo", "twin")))[-1] == "twin, keep: layer 1's down_proj"
    assert "rotate: stream: Hadamard, 64" in words(answer.ENTRY.draw(made()))


def test_arithmetic_is_no_difference() -> None:
    """However narrow its interval is."""
    costs = {**COSTS, ("none", "rotate"): (-5e-5, 0.0), ("dynamic", "rotate"): (0.001 - 5e-7, 0.02)}
    cells = grid(made(costs=costs), "demo")
    assert cells["rotate", "none"].told == cells["rotate", "dynamic"].told == UNCLEAR


def test_pairs_of_models_have_cells_of_their_own() -> None:
    run = made(("demo", "twin"))
    cells = pair_grid(run, "twin", "demo")
    assert cells["none", "static"].delta == pytest.approx(0.9)
    assert cells["none", "static"].told == WORSE
    assert cells["rotate", "dynamic"].told == UNCLEAR
    assert not any(method == "none" for _, method in cells)
    assert "twin minus demo" in words(answer.ENTRY.draw(run))


def test_the_page_comes_first_where_mitigations_were_measured() -> None:
    run, plain = made(), plain_run(["demo"], ["none", "w8"])
    assert answer.ENTRY.applies_to(run)
    assert remains.ENTRY.applies_to(run)
    assert not answer.ENTRY.applies_to(plain)
    assert not remains.ENTRY.applies_to(plain)
    said = words(answer.ENTRY.draw(run))
    for text in ("rotate wins back 94 %", "not quantized", "+0.9000", "+1.4000 \u25b2", "+0.0500 \u25bc"):
        assert text in said, text
    assert "<h1>What repairs the damage of which format</h1>" in document(run, [])
    assert "<h1>What quantization costs</h1>" in document(plain, [])


def test_the_terminal_says_the_same() -> None:
    said = str(summary(made()))
    assert "rotate wins back 94 %" in said
    assert "+1.4000 \u25b2" in said
    assert "rotate" not in str(summary(plain_run(["demo"], ["none", "w8"])))


def test_other_pages_show_rows_without_a_mitigation() -> None:
    """One mark per method, as if nothing had been mitigated."""
    axes = damage.ENTRY.draw(made()).axes[0]
    assert len(axes.lines[0].get_ydata()) == 3  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize(("models", "formats"), [(1, 1), (1, 14), (2, 6), (4, 3)])
def test_pages_are_legible(models: int, formats: int) -> None:
    names = ("demo",) if models == 1 else tuple(f"model-{number}" for number in range(models))
    many = {("none", "none"): (0.0, 0.0)}
    for number in range(formats):
        for mitigation in ("none", "smooth", "rotate", "prefix", "clip-99.9", "keep"):
            many[f"w{number}a8-static", mitigation] = (0.1 * number + 0.01 * len(mitigation), 0.01)
    run = made(names, many)
    kept = ("quantization", "losses", "paired", "mitigation_sites", "outliers")
    assert_legible(Run(run.info, {name: run[name] for name in kept}))
