"""The commit of a checkout, changes that are not committed, and an installed package, which has none."""

import subprocess
from pathlib import Path

import pytest

from sinkscope.provenance.checkout import commit_here


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout" / "package"
    folder.mkdir(parents=True)
    (folder / "module.py").write_text("x = 1\n")
    return folder


@pytest.fixture(autouse=True)
def forgotten() -> None:
    commit_here.cache_clear()


def test_a_checkout_has_its_commit_and_says_what_was_changed(package: Path) -> None:
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "first")
    commit = git(package.parent, "rev-parse", "HEAD").strip()
    assert commit_here(package) == commit
    (package.parent / "runs").write_text("not of the package")
    commit_here.cache_clear()
    assert commit_here(package) == commit
    (package / "module.py").write_text("x = 2\n")
    commit_here.cache_clear()
    assert commit_here(package) == f"{commit} with changes"


def test_what_has_no_commit_has_none(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert commit_here(package) is None
    git(package.parent, "init", "-q")  # no commit yet
    commit_here.cache_clear()
    assert commit_here(package) is None
    commit_here.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert commit_here(package) is None
