"""The site is built without a warning, no link in it is dead, and nothing in it comes from a network."""

import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from code_blocks import ROOT

from sinkscope.cli.verbs import VERBS

pytestmark = pytest.mark.slow


class Page(HTMLParser):
    """What a page links to, what it loads, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        self.places |= {said[name] for name in ("id", "name") if name in said}
        if tag == "a" and "href" in said:
            self.links.append(said["href"])
        elif "src" in said:
            self.loaded.append(said["src"])
        elif tag == "link" and said.get("rel") in ("stylesheet", "icon", "preload"):
            self.loaded.append(said["href"])


def is_elsewhere(target: str) -> bool:
    return target.startswith(("http:", "https:", "mailto:", "data:"))


def dead(pages: dict[Path, Page], folder: Path) -> list[str]:
    """What the pages link to or load, inside the site, and is not there."""
    missing = []
    for path, page in pages.items():
        for target in (*page.links, *page.loaded):
            if is_elsewhere(target):
                continue
            name, place = urldefrag(target)
            # what is asked for with a version behind it is the file itself
            there = (path.parent / unquote(name.partition("?")[0])).resolve() if name else path
            known = pages.get(there)
            if (
                not there.is_relative_to(folder)
                or not there.exists()
                or (place and known and place not in known.places)
            ):
                missing.append(f"{path.relative_to(folder)}: {target}")
    return missing


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site").resolve()
    strict = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs"]
    command = [*strict, "-d", folder / "trees", ".", folder / "html"]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_page_and_every_verb_is_there(site: Path) -> None:
    sources = [path.relative_to(ROOT).with_suffix(".html") for path in ROOT.glob("docs/**/*.md")]
    assert [name for name in sources if not (site / name).is_file()] == []
    assert [verb.__name__ for verb in VERBS if not (site / f"docs/verbs/{verb.__name__}.html").is_file()] == []
    verb = (site / "docs" / "verbs" / "analyze.html").read_text(encoding="utf-8")
    assert "--gradient-checkpointing  " in verb  # of what --help prints


def test_no_link_is_dead(pages: dict[Path, Page], site: Path) -> None:
    assert sum(len(page.links) for page in pages.values()) > 1000
    assert dead(pages, site) == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page]) -> None:
    assert [target for page in pages.values() for target in page.loaded if is_elsewhere(target)] == []


def test_every_picture_opens_in_full_size(pages: dict[Path, Page]) -> None:
    shown = [(path, target) for path, page in pages.items() for target in page.loaded if target.endswith(".png")]
    assert len(shown) > 30
    assert [(path.name, target) for path, target in shown if target not in pages[path].links] == []


def test_every_picture_is_shown(pages: dict[Path, Page]) -> None:
    shown = Counter(Path(target).name for page in pages.values() for target in page.loaded)
    assert [path.name for path in ROOT.glob("docs/images/*.png") if not shown[path.name]] == []


def test_a_dead_link_would_be_seen(tmp_path: Path) -> None:
    here = tmp_path / "a.html"
    here.write_text(
        '<h1 id="there"></h1><a href="#there"></a><a href="#gone"></a><a href="b.html"></a><img src="http://x/y.png">'
    )
    page = Page(here.read_text())
    assert dead({here: page}, tmp_path) == ["a.html: #gone", "a.html: b.html"]
    assert [target for target in page.loaded if is_elsewhere(target)] == ["http://x/y.png"]
