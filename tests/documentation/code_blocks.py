"""The code blocks of the documentation: what is to be run, and what says of itself why it is not.

A block in `sh` or `python`, and an indented one that begins with a command, is one of three things:

- a *synopsis*, which names what to fill in by capitals (MODEL, DIR);
- *not run*: a comment above it gives a kind and a reason, `<!-- not run: hub: downloads a model -->`;
- *run*, by `test_code_blocks.py`, in the order of the page. What it takes for granted stands above it,
  `<!-- given: model, tokenizer -->`.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "README.md", *ROOT.glob("docs/**/*.md")]
)
KINDS = {
    "hub": "needs a model or a data set of the Hub",
    "gpu": "needs a GPU",
    "minutes": "takes minutes",
    "setup": "makes an environment, or something outside of the folder",
    "packages": "needs packages beside those of the development environment",
    "processes": "starts several processes",
    "fragment": "a part of a program",
}
_PLACEHOLDERS = re.compile(r"(?<![\w/$.-])(MODEL|DIR|RUN|LIST|SOURCE|CHECKPOINTS|RECIPE|OPTIONS)(?![\w/=-])")
_COMMAND = re.compile(r"^(sinkscope|pip|python|python3|torchrun|accelerate|pytest|make|git|hf|twine)\b")
_MARK = re.compile(r"<!-- (not run|given): (.+?) -->")


@dataclass(frozen=True)
class Block:
    """A code block of a page.

    Attributes:
        page: the page, from the checkout on.
        line: where it begins.
        language: `sh` or `python`.
        code: its text.
        reason: why it is not run, as (kind, words); None if it is run.
        given: names that the page takes for granted.
    """

    page: str
    line: int
    language: str
    code: str
    reason: tuple[str, str] | None = None
    given: tuple[str, ...] = field(default=())

    @property
    def synopsis(self) -> bool:
        return self.language == "sh" and _PLACEHOLDERS.search(self.code) is not None

    @property
    def run(self) -> bool:
        return self.reason is None and not self.synopsis

    def commands(self) -> list[list[str]]:
        """The lines of a shell block as words, without comments; a line that ends in a backslash goes on."""
        lines = self.code.replace("\\\n", " ").splitlines()
        return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page that hold code."""
    return parsed(page.read_text(encoding="utf-8"), str(page.relative_to(ROOT)))


def parsed(text: str, name: str) -> Iterator[Block]:
    """The blocks of a page, given its text and its name."""
    marks: list[tuple[str, str]] = []
    for token in MarkdownIt().enable("table").parse(text):
        if token.type == "html_block":
            marks += _MARK.findall(token.content)
            continue
        language = token.info.strip() if token.type == "fence" else "sh" if _is_command(token.content) else ""
        if token.type in ("fence", "code_block") and language in ("sh", "python"):
            said = dict(marks)
            kind, _, words = said.get("not run", "").partition(": ")
            yield Block(
                name,
                (token.map or [0])[0] + 1,
                language,
                token.content,
                (kind, words) if "not run" in said else None,
                tuple(name.strip() for name in said.get("given", "").split(",") if name.strip()),
            )
        marks = []


def _is_command(text: str) -> bool:
    return any(_COMMAND.match(line) for line in text.splitlines())
