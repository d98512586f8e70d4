"""docs/claims.md is printed from the claims, and the paper's own numbers lie on the claimed side of every bound."""

import re
from pathlib import Path

from sinkscope.reproduction.claims import TESTS
from sinkscope.reproduction.measures import MEASURES
from sinkscope.reproduction.reference import claims_markdown

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"


def test_the_page_is_that_of_the_claims() -> None:
    assert PAGE.read_text(encoding="utf-8") == claims_markdown(), "run make docs"


def test_every_measure_is_there_and_used() -> None:
    assert {test.measure for test in TESTS.values()} == MEASURES.keys()


def test_the_papers_numbers_clear_the_bounds() -> None:
    seen = 0
    for test in TESTS.values():
        for number in _numbers(test.paper):
            seen += 1
            assert test.bounds[0] < number < test.bounds[1], test.name
    assert seen > 15


def _numbers(paper: str) -> list[float]:
    """What the paper's words come to: the number behind an `=`, else those before a bracket."""
    words = paper.partition("=")[2] or paper
    return [float(number) for number in re.findall(r"(-?[\d.]+) \(", words)]
