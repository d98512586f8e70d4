"""What the documentation names exists: modules, public names, files and options; what others parse is whole."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from test_rooms import ROOMS

import sinkscope
from sinkscope.cli.app import app, verb_command
from sinkscope.cli.verbs import VERBS

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *(
            ROOT / name
            for name in (
                "README.md",
                "CONTRIBUTING.md",
                "SECURITY.md",
                "examples/README.md",
                "recipes/README.md",
                "reports/README.md",
            )
        ),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("reports/*/README.md"),
        *ROOT.glob(".github/**/*.md"),
    ]
)
_DOTTED = re.compile(r"(?<![\w./-])sinkscope(?:\.[A-Za-z_]\w*)+")
_IMPORTED = re.compile(r"^\s*from (sinkscope[\w.]*) import ([\w, ]+)", re.MULTILINE)
_PATH = re.compile(r"(?<![\w./-])(?:sinkscope|tests|recipes|reports|docs)/[\w./-]*[\w/]")
_FLAG = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")

# Options of other programs that the pages show: ruff, pytest with xdist, git, twine, torchrun and accelerate.
FOREIGN = {
    *("--check", "--dist", "--maxprocesses", "--strict"),
    *("--detach", "--nproc-per-node", "--multi_gpu", "--num_processes", "--config_file"),
}


def names(page: str) -> set[str]:
    """Every `sinkscope.x.y` of a page, and every name that its examples import."""
    imported = {
        f"{module}.{name.strip()}" for module, listed in _IMPORTED.findall(page) for name in listed.split(",") if name
    }
    return set(_DOTTED.findall(page)) | imported


def found(name: str) -> Any:
    """What a dotted name stands for: a module, or something in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            thing = getattr(thing, attribute)
        return thing
    raise ModuleNotFoundError(name)


def identified(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=identified)
def test_names_of_the_package_exist(page: Path) -> None:
    missing = []
    for name in sorted(names(page.read_text(encoding="utf-8"))):
        try:
            found(name)
        except (ModuleNotFoundError, AttributeError) as error:
            missing.append(f"{name}: {error}")
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=identified)
def test_files_that_are_named_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    missing = [path for path in sorted(set(_PATH.findall(text))) if not (ROOT / path).exists()]
    missing += [link for link in _LINK.findall(text) if not (page.parent / link).exists()]
    assert not missing


@pytest.fixture(scope="module")
def flags() -> set[str]:
    """The options of every verb, and those of the scripts among the tests."""
    verbs = [typer.main.get_command(app), *(verb_command(verb.__name__) for verb in VERBS)]
    parameters: list[Any] = [parameter for verb in verbs for parameter in verb.params]
    own = {flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}
    paths = [*(ROOT / "tests" / "benchmarks").glob("*.py"), ROOT / "tests" / "same_numbers.py"]
    scripts = [path.read_text(encoding="utf-8") for path in paths]
    return own | {flag for script in scripts for flag in re.findall(r'"(--[\w-]+)"', script)} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=identified)
def test_options_that_are_named_exist(page: Path, flags: set[str]) -> None:
    assert set(_FLAG.findall(page.read_text(encoding="utf-8"))) - flags - FOREIGN == set()


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("sinkscope.capture.processes.together", "sinkscope.launch.group.together"),
        ("sinkscope.comparison.compare.compare_runs", "sinkscope.comparison.compare_runs.compare_runs"),
    ],
)
def test_former_places_of_documented_names_still_lead_there(former: str, now: str) -> None:
    assert found(former) is found(now)


def test_the_map_of_the_code_has_every_room_in_its_order() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| `")]
    rooms = [name.rstrip("/") for line in lines for name in re.findall(r"`([^`]+)`", line)]
    assert rooms == [room for room in ROOMS if room not in ("version", "__main__")]


def test_the_citation_is_complete_and_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", sinkscope.__version__)
    assert all(reference.keys() >= {"type", "title", "authors"} for reference in citation["references"])


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.md")), ids=identified)
def test_issue_templates_have_what_github_lists(path: Path) -> None:
    head = yaml.safe_load(path.read_text(encoding="utf-8").split("---\n")[1])
    assert head.keys() >= {"name", "about"}


def test_what_is_missing_is_seen() -> None:
    page = "`sinkscope.nowhere`, and\n    from sinkscope.inputs import TextSource, Nothing\n"
    assert names(page) == {
        "sinkscope.nowhere", "sinkscope.inputs", "sinkscope.inputs.TextSource", "sinkscope.inputs.Nothing",
    }  # fmt: skip
    assert found("sinkscope.inputs.TextSource").__name__ == "TextSource"
    for wrong in ("sinkscope.nowhere", "sinkscope.inputs.Nothing"):
        with pytest.raises((ModuleNotFoundError, AttributeError)):
            found(wrong)
    assert _PATH.findall("`sinkscope/config.py`, ~/.cache/sinkscope/x") == ["sinkscope/config.py"]


def test_what_was_tried_names_tests_that_there_are() -> None:
    named = re.findall(r"`(tests/[^`]+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) >= 9
    assert [name for name in named if not (ROOT / name).is_file()] == []
