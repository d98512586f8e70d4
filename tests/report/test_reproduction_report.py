"""The report of a reproduction: legible, verdicts and failures on page 1, and true to its tables."""

import re
from functools import cache

import pytest
from inspection import assert_legible, drawn_quietly, words
from synthetic_reproduction import NOTES, reproduced

from sinkscope.intervals.verdicts import REFUTED, REPRODUCED, UNDECIDED, UNTESTABLE
from sinkscope.report.render import entries
from sinkscope.report.reproduction import front_page
from sinkscope.report.reproduction.ruled import TOP, Columns, sheets
from sinkscope.report.reproduction.terminal import summary
from sinkscope.report.reproduction.words import (
    bound_in_words,
    counted_claims,
    counted_tests,
    found_in_words,
    why,
)
from sinkscope.reproduction.readme import readme
from sinkscope.tables.run_folder import Run

LONG = "/folder/" + "averylongname" * 8 + "/$x$ \u6f22\nname"
SHAPES = {
    "trio": {},
    "one_seed": {"seeds": 1},
    "forward_only": {"backward": False},
    "one_model": {"seeds": 1, "trained": False},
    "long": {"name": LONG, "stages": 3},
}


@cache
def run(shape: str) -> Run:
    return reproduced(**SHAPES[shape])


@pytest.mark.parametrize("shape", SHAPES)
def test_pages_are_legible(shape: str) -> None:
    assert_legible(run(shape))


def test_page_1_names_every_claim_with_its_verdict_failures_too() -> None:
    said = words(front_page.ENTRY.draw(run("trio")))
    verdicts = run("trio")["claims"]["verdict"]
    assert REFUTED in set(verdicts)
    for word in set(verdicts):
        assert said.count(word) >= (verdicts == word).sum()
    text = " ".join(str(summary(run("trio"))).split())
    assert counted_claims(run("trio")) in text
    assert all(claim.split(":")[0][:20] in text for claim in run("trio")["claims"]["says"])


def test_every_test_and_command_is_on_some_page() -> None:
    drawn = drawn_quietly(run("trio"))
    said = " ".join(words(page) for name, page in drawn.items() if name.startswith(("tests", "provenance")))  # type: ignore[arg-type]
    for row in run("trio")["tests"].to_dict("records"):
        assert bound_in_words(row) in said
    for number in range(30):
        assert f"analyze/tiny-{number}" in said


def test_what_differs_is_on_a_page_of_its_own() -> None:
    (entry,) = [entry for entry in entries(run("trio")) if entry.name == "differences"]
    said = words(entry.draw(run("trio")))
    assert all(note.partition(": ")[2].strip()[:40] in said for note in NOTES)


def test_the_readme_has_the_same() -> None:
    text = readme(run("trio"))
    assert counted_claims(run("trio")) in text
    for row in run("trio")["tests"].to_dict("records"):
        assert f"| `{row['test']}` |" in text
        assert f"| {found_in_words(row)} | {bound_in_words(row)} | {row['verdict']} | {why(row)} |" in text
    assert "commit 0123abcd" in text
    assert all(note in text for note in NOTES)


def test_every_test_is_counted_once() -> None:
    said = counted_tests(run("trio"))
    assert said.startswith("Of 25 tests, ")
    assert sum(int(number) for number in re.findall(r"(\d+) (?:is|are) ", said)) == 25


NUMBER = {
    "value": 0.75, "low": 0.6, "high": 0.9, "over": "seeds", "count": 3, "direction": "above", "lower_bound": 0.5,
    "upper_bound": float("nan"), "verdict": REPRODUCED, "seeds_needed": float("nan"), "reason": "",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "found", "lacks"),
    [
        ({}, "0.750 (0.600 to 0.900, over 3 seeds)", ""),
        ({"verdict": UNDECIDED, "seeds_needed": 7.0}, "0.750 (0.600 to 0.900, over 3 seeds)",
         "7 seeds would tell four times in five, at this spread"),
        ({"verdict": UNDECIDED}, "0.750 (0.600 to 0.900, over 3 seeds)",
         "the interval reaches over the bound, and no number of seeds up to 1,000 would tell"),
        ({"verdict": UNDECIDED, "over": "layers"}, "0.750 (0.600 to 0.900, over 3 layers)",
         "the interval reaches over the bound"),
        ({"low": float("nan"), "verdict": UNDECIDED, "reason": "one training"}, "0.750 (no interval)", "one training"),
        ({"value": float("nan"), "verdict": UNTESTABLE, "reason": "no gradients"}, "-", "no gradients"),
        ({"over": "exact", "value": 1e-7}, "1.00e-07 (largest of 3)", ""),
    ],
)  # fmt: skip
def test_a_test_in_words(changes: dict[str, object], found: str, lacks: str) -> None:
    row = {**NUMBER, **changes}
    assert found_in_words(row) == found
    assert why(row) == lacks
    assert bound_in_words(row) == "> 0.5"


def test_a_table_goes_on_over_pages() -> None:
    columns, rows = Columns(("a", "b"), (0.5, 0.5)), [(f"row {n}", "word " * 40) for n in range(60)]
    pages = sheets(columns, rows)
    assert [row for page in pages for row in page] == rows
    assert len(pages) > 1
    assert len(sheets(columns, rows, TOP - 0.2)[0]) < len(pages[0])
