"""docs/run-json.md is what the declaration prints."""

from pathlib import Path

from sinkscope.provenance.declared import KINDS
from sinkscope.provenance.reference import provenance_markdown

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_up_to_date() -> None:
    written = (DOCS / "run-json.md").read_text(encoding="utf-8")
    assert written == provenance_markdown(), "run: python -m sinkscope.provenance.reference > docs/run-json.md"


def test_every_kind_and_key_is_listed() -> None:
    sections = {part.split("\n", 1)[0]: part for part in provenance_markdown().split("\n## ")[1:]}
    assert list(sections) == ["Every run", *KINDS]
    for kind in KINDS.values():
        for key in kind.keys:
            section = sections[kind.name if key in kind.own else "Every run"]
            assert f"| `{key.name}` | {key.type} |" in section
