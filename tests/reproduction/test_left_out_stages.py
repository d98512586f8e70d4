"""A stage by itself: what is refused or left out leaves nothing behind, and a full disk is one line."""

import os
from pathlib import Path
from typing import Any

import pytest

from sinkscope.errors import RequestError, SinkscopeError, UnsuitedError
from sinkscope.inputs import Output
from sinkscope.reproduction.stages import NOTES, Stage, is_finished, left_out, settle
from sinkscope.results import Result

NAME = "quantize/model"


def stage(error: SinkscopeError, *, spared: bool = False, **request: Any) -> Stage:
    def fails(_: Output) -> Result:
        raise error

    return Stage(NAME, {"any": 1, **request}, (), fails, "by hand", 0.0, spared)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def test_what_a_verb_refuses_leaves_nothing_behind(place: Path) -> None:
    with pytest.raises(RequestError, match="never"):
        settle(stage(RequestError("never")), place)
    assert list(place.iterdir()) == []


def test_what_others_can_do_without_is_left_out_with_its_reason(place: Path) -> None:
    one = stage(UnsuitedError("fused"), spared=True)
    assert settle(one, place) == "fused"
    assert is_finished(one, place)
    assert left_out(NAME, place) == "fused"
    assert {path.name for path in place.iterdir()} == {NOTES}
    assert not is_finished(stage(UnsuitedError("fused"), spared=True, other=2), place), "of another request"


def test_what_depends_on_it_is_made_anew_when_the_reason_is_another(place: Path) -> None:
    settle(stage(UnsuitedError("fused"), spared=True), place)
    nothing = stage(UnsuitedError("no report"), spared=True).work
    later = Stage("report", {}, (place / NAME,), nothing, "by hand", 0.0, spared=True)
    settle(later, place)
    assert is_finished(later, place)
    settle(stage(UnsuitedError("offloaded"), spared=True), place)
    assert not is_finished(later, place)


def test_what_others_need_is_not_left_out(place: Path) -> None:
    with pytest.raises(UnsuitedError, match="fused"):
        settle(stage(UnsuitedError("fused")), place)
    assert left_out(NAME, place) == ""


def test_a_full_disk_is_one_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("sinkscope.reproduction.stages.write_sealed", full)
    with pytest.raises(SinkscopeError, match=r"quantize--model\.json.*No space left"):
        settle(stage(RequestError("never")), place)


def test_a_file_in_the_place_of_a_folder_is_one_line(place: Path) -> None:
    (place / NOTES).write_text("mine")
    with pytest.raises(SinkscopeError, match="out"):
        settle(stage(RequestError("never")), place)
    assert (place / NOTES).read_text() == "mine"
