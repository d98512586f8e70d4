"""The lists of quantities in docs/ are what the rows print."""

from pathlib import Path

import pytest

from sinkscope.quantities.reference import BLOCKS, renewed

ROOT = Path(__file__).parents[2]
PAGES = ("docs/quantities.md", "docs/comparison.md", "docs/tracking.md")
COMMAND = f"python -m sinkscope.quantities.reference {' '.join(PAGES)}"


@pytest.mark.parametrize("page", PAGES)
def test_the_page_is_up_to_date(page: str) -> None:
    written = (ROOT / page).read_text(encoding="utf-8")
    assert written == renewed(written), f"run: {COMMAND}"


def test_every_list_stands_on_a_page() -> None:
    written = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    for name in BLOCKS:
        assert written.count(f"<!-- quantities: {name} -->\n") == 1, name
    assert written.count("<!-- quantities: end -->\n") == len(BLOCKS)


def test_a_page_is_renewed_between_its_marks_alone() -> None:
    page = "before\n<!-- quantities: monitored -->\nold\n<!-- quantities: end -->\nafter\n"
    made = renewed(page)
    assert made == page.replace("old\n", BLOCKS["monitored"]())
    assert renewed(made) == made
