"""A finished reproduction at a scale of a moment, made once."""

import shutil
from pathlib import Path

import pytest
from trios import scale_of, write_trio

from sinkscope.reproduction.run import reproduce
from sinkscope.reproduction.settings import Place, ReproductionRequest, Subject


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    return write_trio(tmp_path_factory.mktemp("recipes"))


@pytest.fixture(scope="session")
def whole(recipes: tuple[str, str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished reproduction; tests must not write into it."""
    place = tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sinkscope.report.render.render", lambda *_: None)
        assert (
            reproduce(ReproductionRequest(Subject(scale="mini"), Place(place)), scale_of(recipes)) == place / "report"
        )
    return place


@pytest.fixture
def copied(whole: Path, tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: ARG001
    """A copy of it in the place that it was made for, as its commands and hashes have it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(whole, tmp_path / "out"))
