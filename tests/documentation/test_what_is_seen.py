"""What a page says is what its reader sees: no tag swallows a word, and nothing was left to be filled in."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from code_blocks import PAGES, ROOT
from markdown_it import MarkdownIt

ALL = sorted({*PAGES, *ROOT.glob("*.md"), *(path for room in ("reports", "recipes", "examples", "sinkscope/packaged")
                                           for path in (ROOT / room).rglob("*.md"))})  # fmt: skip
FILES = {path.stem for path in ROOT.glob("*.*")}  # README.md
NAMES = {"EXAONE", "LAMBADA", "RULER", "SIGHUP", "SIGKILL", "SIGTERM"}  # of other people's things
BANNER = {"MEASURED", "ALIKE"}  # what a report says of runs that were not
TO_BE_GIVEN = {"CHECKPOINTS", "MODEL"}  # an argument of a command
COLUMNS = 100  # of code that the site shows beside its navigation, in a window of 1,400 pixels
_CAPITALS = re.compile(r"\b[A-Z]{5,}\b|\bTODO\b|\bTBD\b|\bXXX\b")


def prose(text: str) -> Iterator[tuple[int, str, str]]:
    """The pieces of a page outside code: its line, `text` or `html_inline`, and what it says."""
    for token in MarkdownIt().enable("table").parse(text):
        for child in token.children or []:
            if child.type in ("text", "html_inline"):
                yield (token.map or [0])[0] + 1, child.type, child.content


def swallowed(text: str) -> list[str]:
    """Tags in the middle of a line, which a browser takes for its own and does not show."""
    return [f"{line}: {said}" for line, kind, said in prose(text) if kind == "html_inline" and said[:4] != "<!--"]


def unfilled(text: str) -> list[str]:
    """Words of capitals alone, as one writes them for a number that is still to come."""
    found = ((line, word) for line, kind, said in prose(text) if kind == "text" for word in _CAPITALS.findall(said))
    return [f"{line}: {word}" for line, word in found if word not in FILES | NAMES | BANNER | TO_BE_GIVEN]


def cut_off(text: str) -> list[str]:
    """Lines of code that are to be typed, and longer than what is seen of them at once."""
    return [
        f"{(token.map or [0])[0] + 1 + number}: {line}"
        for token in MarkdownIt().enable("table").parse(text)
        if token.type == "fence" and token.info.strip() in ("sh", "python")
        for number, line in enumerate(token.content.splitlines(), 1)
        if len(line) > COLUMNS
    ]


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/**/*.md")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_command_is_cut_off(page: Path) -> None:
    assert not cut_off(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_tag_swallows_a_word(page: Path) -> None:
    assert not swallowed(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", ALL, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_to_be_filled_in(page: Path) -> None:
    assert not unfilled(page.read_text(encoding="utf-8"))


def test_either_would_be_seen() -> None:
    page = "Windows start with <bos>.\n\n| a | <eos> |\n|---|---|\n| `<bos>` | GEMMAROW |\n\n<!-- a comment -->\n"
    assert swallowed(page) == ["1: <bos>", "3: <eos>"]
    assert unfilled(page) == ["5: GEMMAROW"]
    assert cut_off(f"one\n```sh\n{'a' * 100}\n{'a' * 101}\n```\n```text\n{'a' * 101}\n```") == [f"4: {'a' * 101}"]
    assert not unfilled("```text\nGEMMAROW\n```\nMODEL is `demo`, or [README](GEMMAROW.md)")
